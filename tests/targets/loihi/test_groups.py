"""What counts as one group on a core, and what delays take of its memory."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.demand import tile_demand
from spikeloom.compiler.mapping.network import Network
from spikeloom.targets.loihi import loihi1, loihi2

N = 8
WEIGHT = np.ones((N, N), np.int8)


def neuron(theta: int | list[int], decay: int = 2048, soft: bool = False) -> IntegerNeuron:
    step = np.atleast_1d(theta)[None] * 64
    reset = {"reset": "soft", "reset_by": step[0]} if soft else {}
    return IntegerNeuron(step, np.zeros(N, int), decay, 7, state_bits=24, **reset)


def side_by_side(*neurons: IntegerNeuron) -> Graph:
    """Layers that read the same input, and their sum."""
    builder = GraphBuilder("groups", Stage.INTEGER)
    x = builder.input("x", Type((N,), SPIKES))
    total = ""
    for number, op in enumerate(neurons):
        (y,) = builder.add(f"fc{number}", Linear(WEIGHT), x)
        (y,) = builder.add(f"lif{number}", op, y)
        total = builder.add(f"sum{number}", Add(), total, y)[0] if total else y
    builder.output(total)
    return builder.build()


def groups(network: Network, *names: str) -> int:
    """Parameter groups of a core that holds these populations."""
    demands = [tile_demand(network, one, Box.whole(one.shape)) for one in map(network.population, names)]
    total = demands[0]
    for demand in demands[1:]:
        total = total.with_tile(demand)
    return total.uses(network, loihi2().chip())["neuron_groups"]


@pytest.mark.parametrize(
    ("other", "together"),
    [
        (neuron(5), 1),
        (neuron(6), 2),
        (neuron(5, decay=1024), 2),
        (neuron(5, soft=True), 2),
        (neuron([5, 5, 5, 5, 6, 6, 6, 6]), 2),
        (neuron([6, 6, 6, 6, 7, 7, 7, 7]), 3),
    ],
)
def test_neurons_that_do_the_same_are_one_group(other: IntegerNeuron, together: int) -> None:
    network = loihi2().lower(side_by_side(neuron(5), other))
    assert groups(network, "lif0", "lif1") == together


def test_layers_that_are_reset_at_other_steps_are_other_groups() -> None:
    builder = GraphBuilder("deep", Stage.INTEGER)
    x = builder.input("x", Type((N,), SPIKES))
    for number in range(2):
        (x,) = builder.add(f"fc{number}", Linear(WEIGHT), x)
        (x,) = builder.add(f"lif{number}", neuron(5), x)
    builder.output(x)
    assert groups(loihi2().lower(builder.build()), "lif0", "lif1") == 2


def test_masks_of_any_depth_are_one_group() -> None:
    """An AND has no state that is reset."""
    builder = GraphBuilder("masks", Stage.INTEGER)
    x = builder.input("x", Type((N,), SPIKES))
    (y,) = builder.add("first", Mul(), x, x)
    builder.output(builder.add("second", Mul(), y, x)[0])
    assert groups(loihi2().lower(builder.build()), "first", "second") == 1


def test_a_program_has_its_thresholds_in_the_memory_of_its_neurons() -> None:
    network = loihi2().lower(side_by_side(neuron([1, 2, 3, 4, 5, 6, 7, 8], soft=True), neuron(1, soft=True)))
    own, shared = network.population("lif0"), network.population("lif1")
    assert groups(network, "lif0") == 1
    assert own.state_bytes - shared.state_bytes == 4


def test_each_step_that_a_synapse_waits_is_a_sum_of_its_neuron() -> None:
    def late(steps: int) -> Graph:
        builder = GraphBuilder("late", Stage.INTEGER)
        (x,) = builder.add("late", Delay(np.arange(N) % (steps + 1)), builder.input("x", Type((N,), SPIKES)))
        (x,) = builder.add("fc", Linear(WEIGHT), x)
        builder.output(builder.add("lif", neuron(5), x)[0])
        return builder.build()

    for target, slot in ((loihi2(), 4), (loihi1(), 0)):
        sizes = [target.lower(late(steps)).population("lif").state_bytes for steps in (1, 5)]
        assert sizes[1] - sizes[0] == 4 * slot
        assert target.lowered(late(5))[1].cost == 5 * N
