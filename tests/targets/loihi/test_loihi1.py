"""The older chip: what its LIF can do is exact there too, and everything else is refused by name."""

from __future__ import annotations

import contextlib
from collections import Counter

import numpy as np
import pytest

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.targets.loihi import loihi1, loihi2
from spikeloom.targets.loihi.engine import LoihiEngine
from spikeloom.targets.loihi.lowering.rule import PROGRAM
from tests.random_networks import RandomNetwork
from tests.targets.loihi.random_programs import random_program
from tests.targets.loihi.test_engine import made
from tests.targets.loihi.test_relays import exact, membranes, quantized

SEEDS = 120


def test_random_networks_without_neuron_programs_are_exact() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        with contextlib.suppress(AssertionError):  # a layer that cannot be brought to fire
            net = random_program(seed, programs=False)
            if not loihi1().obstacles(net.graph):  # a reshape of an odd part of a sum needs the sum sent
                seen.update(_exact(net))
    assert seen["networks"] > 0.7 * SEEDS
    wanted = {
        "conv2d",
        "conv1d",
        "linear",
        "add",
        "concat",
        "max_pool2d",
        "mul",
        "pad",
        "reduce_sum",
        "split",
    }
    assert wanted <= {name for name, count in seen.items() if count >= 3}, seen


def _exact(net: RandomNetwork) -> set[str]:
    """The operations of a network that runs on the chip with no difference."""
    engines: dict[str, Engine] = {
        "reference": ReferenceEngine(net.graph),
        "loihi": LoihiEngine(loihi1().program(net.graph), net.graph),
    }
    mismatches = compare_engines(engines, [(net.graph.name, net.frames)]).mismatches
    if mismatches:
        pytest.fail(net.graph.name)
    return {"networks"} | {node.op.name for node in net.graph.nodes}


@pytest.mark.parametrize("seed", range(30))
def test_networks_are_refused_exactly_where_they_need_more(seed: int) -> None:
    for net in made(seed):
        populations = loihi2().lower(net.graph).populations
        needs = {one.name for one in populations if one.tag == PROGRAM}
        needs |= {one.name for one in populations if one.role == "input" and one.bounds[1] > 1}
        assert {problem.where for problem in loihi1().obstacles(net.graph)} == needs


def picture(soft: bool = False, pooled: bool = False) -> Graph:
    builder = GraphBuilder("one", Stage.INTEGER)
    x = builder.input("x", Type((2, 8, 8), SPIKES))
    (y,) = builder.add("conv", Conv2d(np.ones((4, 2, 3, 3), np.int8), None, padding=(1, 1)), x)
    if pooled:
        (y,) = builder.add("pool", MaxPool2d((2, 2), (2, 2), (0, 0)), y)
    reset = {"reset": "soft", "reset_by": np.array(128)} if soft else {}
    neuron = IntegerNeuron(
        np.array([64]).reshape(1, 1, 1, 1),
        np.zeros((1, 1, 1), np.int64),
        2048,
        7,
        state_bits=24,
        **reset,  # type: ignore[arg-type]
    )
    builder.output(builder.add("lif", neuron, y)[0])
    return builder.build()


@pytest.mark.parametrize(
    ("graph", "reasons"),
    [
        (picture(soft=True), {"lif": "is more than a LIF of one level and a hard reset"}),
        (
            picture(pooled=True),
            {"conv": "sends a sum, which max_pool2d asks for", "lif": "takes the largest"},
        ),
    ],
)
def test_what_needs_a_neuron_program_is_named(graph: Graph, reasons: dict[str, str]) -> None:
    problems = loihi1().obstacles(graph)
    assert {problem.where for problem in problems} == set(reasons)
    assert all(problem.what.startswith(reasons[problem.where]) for problem in problems)
    assert {problem.code for problem in problems} == {"SL0602"}
    assert not loihi2().obstacles(graph)


def test_cores_hold_1024_neurons() -> None:
    mapping = map_network(loihi1().lower(picture()), loihi1().chip())
    assert all(core.uses["neurons"] <= 1024 for core in mapping.cores)
    assert mapping.chip.name == "loihi1"


def test_membranes_that_are_added_come_from_layers_of_one_step() -> None:
    """No relay: every reader has a delayed synapse from each layer on the path."""
    result, frames = quantized(shallow, loihi1())
    steps = {float(step) for layer in ("stem", "0.conv", "1.conv") for step in result.steps[layer].ravel()}
    assert len(steps) == 1
    program = exact(result.graph, frames, loihi1())
    assert {one.model for one in program.processes} == {"input", "lif", "readout"}
    assert any(one.delay for one in program.synapses)


def shallow(builder: GraphBuilder, x: str, rng: np.random.Generator) -> str:
    return membranes(builder, x, rng, blocks=2, pooled=False)
