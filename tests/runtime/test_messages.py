"""Shares of messages: spikes, numbers, numbers of every neuron in every step."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.compiler.graph.graph import GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.runtime.estimate.activity import measure, population_rates
from spikeloom.runtime.estimate.messages import messages_sent
from spikeloom.targets.loihi import loihi2


def test_nothing_that_is_sent_is_left_out() -> None:
    """Ten inputs, of which 4 spike; ten relays, always; ten graded neurons, of which 4 fire; ten products."""
    builder = GraphBuilder("g", Stage.INTEGER)
    x = builder.input("x", Type((10,), SPIKES))
    (wide,) = builder.add("relay", Rescale(np.full(10, 3, np.int32), 0, -9, 9), x)
    theta = np.array([[0], [64]])
    neuron = IntegerNeuron(theta, np.zeros(1, np.int64), 4096, 7, state_bits=24)
    (graded,) = builder.add("graded", neuron, wide)
    builder.output(builder.add("masked", Mul(), graded, x)[0])
    graph = builder.build()
    frame = np.array([[[1, 0, 1, 0, 0, 1, 0, 1, 0, 0]]], np.uint8)
    network = loihi2().lower(graph)
    rates = population_rates(network, graph, measure(graph, [frame]))
    messages = messages_sent(network, rates)
    assert (messages.binary, messages.graded, messages.dense, messages.places) == (4, 8, 10, 40)
    document = messages.to_json()
    assert document["rate"] == pytest.approx(22 / 40)
    assert sum(document[f"{kind}_share"] for kind in ("binary", "graded", "dense")) == pytest.approx(1)
