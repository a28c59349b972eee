"""No sum that arrives can be larger than what is proved, and the proof is as tight as it can be."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.errors import UnsupportedError
from spikeloom.targets.loihi import loihi2
from spikeloom.targets.loihi.program import Process, Program, Synapses
from spikeloom.targets.loihi.proofs import problems_of, reach


def signed(unit: int) -> Graph:
    """Two relays that send numbers of both signs, and a neuron that reads one with 127, one with -127."""
    builder = GraphBuilder("signed", Stage.INTEGER)
    x = builder.input("x", Type((2,), SPIKES))
    (y,) = builder.add("both", Linear(np.array([[1, -1], [-1, 1]], np.int8)), x)
    (y,) = builder.add("relay", Rescale(np.full(2, unit, np.int32), 0, -unit, unit), y)
    (y,) = builder.add("map", Linear(np.array([[127, -127]], np.int8)), y)
    neuron = IntegerNeuron(np.full((1, 1), 64), np.zeros(1, np.int64), 2048, 7, state_bits=48)
    builder.output(builder.add("lif", neuron, y)[0])
    return builder.build()


def test_messages_of_both_signs_count_at_their_worst() -> None:
    """One of 400 and one of -400 add up: 2 x 127 x 400 x 128 is over 2**23, where each alone is not."""
    with pytest.raises(UnsupportedError, match=r"SL0503 lif: its current could leave 24 bits .*-13004800"):
        loihi2().program(signed(400))
    assert loihi2().program(signed(250))


@pytest.mark.parametrize("seed", range(20))
def test_the_bounds_are_reached_and_never_left(seed: int) -> None:
    """Every message of three sources at its least, at its largest, or not sent, in all combinations."""
    rng = np.random.default_rng(seed)
    messages = {f"s{n}": tuple(sorted(rng.integers(-4, 5, 2).tolist())) for n in range(3)}
    weights = rng.integers(-9, 10, (3, 2, 2))  # sources, targets, neurons of each
    takes_largest = bool(seed % 2)
    program, target = _program(weights, takes_largest)
    low, high = reach(program, target, messages)
    found = []
    for choice in product((0, 1, 2), repeat=6):
        ends = zip((0, 0, 1, 1, 2, 2), choice, strict=True)
        sent = np.array([(*messages[f"s{n}"], 0)[end] for n, end in ends])
        arrived = (weights * sent.reshape(3, 1, 2)).transpose(1, 0, 2).reshape(2, 6)
        found.append(arrived.max(1) if takes_largest else arrived.sum(1))
    assert (low <= np.min(found, 0)).all()
    if takes_largest:
        assert (high == np.maximum(np.max(found, 0), 0)).all()
    else:
        assert (low == np.min(found, 0)).all()
        assert (high == np.max(found, 0)).all()


def _program(weights: np.ndarray, takes_largest: bool) -> tuple[Program, Process]:
    target = Process("t", (2,), "counter", bias=np.zeros(2, np.int64), takes_largest=takes_largest)
    sources = tuple(Process(f"s{n}", (2,), "sum") for n in range(3))
    starts, flat = np.array([0, 2, 4]), np.array([0, 1, 0, 1])
    synapses = tuple(Synapses(f"s{n}", "t", 0, 0, starts, flat, weights[n].ravel()) for n in range(3))
    return Program("p", (*sources, target), synapses, "t", np.zeros(1, np.int64)), target


def test_a_constant_counts_where_a_sum_is_sent() -> None:
    """A sum of at most 4, and a constant that leaves less room than that."""
    program, target = _program(np.ones((3, 2, 2), np.int64), takes_largest=False)
    messages = {"s0": (0, 1), "s1": (0, 1), "s2": (0, 0)}
    for constant, fits in ((2**23 - 5, True), (2**23 - 4, False)):
        whole = Process("t", (2,), "sum", bias=np.full(2, constant))
        changed = Program("p", (*program.processes[:-1], whole), program.synapses, "t", program.output_bias)
        assert (not list(problems_of(changed, messages))) is fits
    assert target.model == "counter"
