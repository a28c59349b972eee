"""Shares of messages: spikes, numbers, numbers of every neuron in every step."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.runtime.estimate.activity import measure, population_rates
from spikeloom.runtime.estimate.chip import ChipEstimate, Workload, estimate_chip
from spikeloom.runtime.estimate.messages import messages_sent
from spikeloom.targets.loihi import loihi2
from spikeloom.targets.loihi.attention import Form
from spikeloom.targets.loihi.engine import Chip
from spikeloom.targets.loihi.target import Loihi2
from tests.targets.loihi.test_attention import ssa


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


def sent_by(target: Loihi2, graph: Graph, frames: np.ndarray) -> dict[str, float]:
    """Messages a neuron and network step of every process, counted on the chip."""
    program = target.program(graph)
    chip, (steps, batch) = Chip(program), frames.shape[:2]
    chip.reset(batch)
    counts = dict.fromkeys((one.name for one in program.processes), 0)
    silence = np.zeros((frames[0, 0].size, batch), np.int64)
    for step in range(steps * program.steps + program.latency):
        number, slot = divmod(step, program.steps)
        frame = (
            frames[number].reshape(batch, -1).T.astype(np.int64) if number < steps and not slot else silence
        )
        for name, messages in chip.step({graph.inputs[0]: frame}).items():
            counts[name] += int(np.count_nonzero(messages))
    return {one.name: counts[one.name] / (one.size * steps * batch) for one in program.processes}


@pytest.mark.parametrize("form", ["rows", "memory"])
def test_messages_of_a_stream_are_those_that_the_chip_sends(form: Form) -> None:
    """Over all chip steps of a network step; not the LIFs behind it, which may fire when nothing comes."""
    target = Loihi2(form)
    graph = target.arrange(ssa(2, 6, 3, True))
    frames = (np.random.default_rng(3).random((5, 2, 6, 6, 3)) < 0.4).astype(np.uint8)
    network = target.lower(graph)
    rates = population_rates(network, graph, measure(graph, [frames]))
    counted = sent_by(target, graph, frames)
    assert {name: rates[name] for name in counted if name != "lif"} == pytest.approx(
        {name: rate for name, rate in counted.items() if name != "lif"}
    )
    assert any(rate > 1 for rate in rates.values()), "a bus sends in several chip steps"


def test_every_chip_step_of_a_network_step_is_paid_for() -> None:
    """16 slots: sixteen barriers, and sixteen updates of every neuron."""
    estimates = [_estimate(form) for form in ("as written", "rows")]
    at_once, slotted = estimates
    assert (at_once.slots, slotted.slots) == (1, 16)
    assert slotted.step_s.nominal >= 16 * loihi2().costs()["t_barrier"].nominal
    neurons = slotted.shares.values()
    assert slotted.per_step["neuron_updates"] == 16 * sum(row["neurons"] for row in neurons)
    assert slotted.modes["back_to_back"].latency["pipeline"].nominal == pytest.approx(
        slotted.step_s.nominal * slotted.depth / 16
    )


def _estimate(form: Form) -> ChipEstimate:
    target = Loihi2(form)
    graph = target.arrange(ssa(1, 16, 16, True))
    frames = (np.random.default_rng(3).random((4, 2, 3, 16, 16)) < 0.4).astype(np.uint8)
    network = target.lower(graph)
    rates = population_rates(network, graph, measure(graph, [frames]))
    mapping = map_network(network, target.chip(), rates)
    return estimate_chip(mapping, rates, Workload(4.0, None, 100.0), target.costs())
