"""What lowering is said to cost: every neuron and synapse once, every form of attention, the one taken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.mapping.target import PricedTarget
from spikeloom.targets.loihi import loihi1, loihi2
from spikeloom.targets.loihi.attention import Form
from spikeloom.targets.loihi.lower import HOLD
from spikeloom.targets.loihi.target import Loihi2
from tests.targets.loihi.test_holds import SIZE, deep, lif


def test_every_neuron_and_synapse_is_told_once(tiny_graph: Graph) -> None:
    target = loihi2()
    assert isinstance(target, PricedTarget)
    graph = target.arrange(tiny_graph)
    cost, (network, timing) = target.lowering_cost(graph), target.lowered(graph)
    assert sum(one.neurons for one in cost.operations) == sum(one.size for one in network.placed)
    assert sum(cost.neurons.values()) == sum(one.size for one in network.placed)
    assert sum(one.populations for one in cost.operations) == len(network.placed)
    every = sum(network.synapses(number) for number in range(len(network.projections)))
    assert sum(one.synapses for one in cost.operations) == every
    assert [one.operation for one in cost.operations] == ["max_pool2d", "integer_neuron", "matmul", "output"]
    assert (cost.delay_slots, cost.latency) == (timing.cost, timing.latency)


@pytest.mark.parametrize(
    ("form", "taken"),
    [("at once", "at once, right first"), ("rows", "rows, right first"), ("memory", "memory, right first")],
)
def test_the_form_that_is_taken_is_marked(form: Form, taken: str, tiny_graph: Graph) -> None:
    target = Loihi2(form)
    graph = target.arrange(tiny_graph)
    cost, network = target.lowering_cost(graph), target.lower(graph)
    (one,) = (way for way in cost.attention if way.taken)
    assert (one.form, one.chip_steps) == (taken, network.steps)
    (products,) = (row for row in cost.operations if row.operation == "matmul")
    assert products.neurons == one.neurons
    assert len(cost.attention) == 6


def test_attentions_of_one_size_are_told_once(spikformer: Callable[..., Graph]) -> None:
    graph = loihi2().arrange(spikformer(blocks=3))
    ways = loihi2().lowering_cost(graph).attention
    assert [len(way.nodes) for way in ways] == [3] * 6
    assert [way.form for way in ways if way.taken] == ["at once, right first"]


def test_neurons_that_only_wait_are_told_of_too() -> None:
    (row,) = (one for one in loihi2().lowering_cost(deep(70, 3, (69,))).operations if one.operation == HOLD)
    assert (row.populations, row.neurons, row.synapses) == (1, SIZE, SIZE)
    reasons = [problem.what for problem in loihi1().obstacles(deep(70, 3, (69,)))]
    assert any(HOLD in reason for reason in reasons)


def test_what_the_host_computes_is_named() -> None:
    builder = GraphBuilder("g", Stage.INTEGER)
    (spikes,) = builder.add("lif", lif(), builder.input("x", Type((SIZE,), SPIKES)))
    (total,) = builder.add("sum", Accumulate(4), spikes)
    builder.output(builder.add("head", Linear(np.eye(SIZE, dtype=np.int8)), total)[0])
    cost = loihi2().lowering_cost(builder.build())
    assert cost.host == ("sum", "head")
    assert [one.operation for one in cost.operations] == ["integer_neuron"]
