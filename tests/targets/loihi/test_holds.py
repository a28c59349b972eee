"""Paths that wait longer than synapses can: holds stand in, and nothing changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import Type, levels
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.mapping.network import Network, Population, Projection
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.targets.loihi import loihi1, loihi2
from spikeloom.targets.loihi.engine import LoihiEngine
from spikeloom.targets.loihi.holds import with_holds
from spikeloom.targets.loihi.lowering.rule import EXISTING, PROGRAM
from spikeloom.targets.loihi.program import LONGEST_DELAY
from spikeloom.targets.loihi.retime import retime
from spikeloom.targets.loihi.target import Loihi

SIZE = 5


def lif() -> IntegerNeuron:
    return IntegerNeuron(np.full((1, SIZE), 64), np.zeros(SIZE, np.int64), 2048, 7, state_bits=24)


def deep(layers: int, high: int, joins: Sequence[int]) -> Graph:
    """A chain of layers of which some also read the input."""
    rng = np.random.default_rng(layers)
    builder = GraphBuilder("deep", Stage.INTEGER, "loihi2")
    x = y = builder.input("x", Type((SIZE,), levels(high)))
    for layer in range(layers):
        weight = (np.eye(SIZE, dtype=np.int8) * 2 + rng.integers(-1, 2, (SIZE, SIZE))).astype(np.int8)
        if layer in joins:
            (y,) = builder.add(f"join{layer}", Add(), x, y)
        (y,) = builder.add(f"map{layer}", Linear(weight), y)
        (y,) = builder.add(f"lif{layer}", lif(), y)
    builder.output(y)
    return builder.build()


@pytest.mark.parametrize("target", [loihi1(), loihi2()])
@pytest.mark.parametrize(("layers", "joins"), [(70, (69,)), (140, (30, 80, 139))])
def test_spikes_wait_in_lifs(target: Loihi, layers: int, joins: Sequence[int]) -> None:
    graph = deep(layers, 1, joins)
    program = target.program(graph)
    holds = [one for one in program.processes if ".held" in one.name]
    assert {one.model for one in holds} == {"lif"}
    assert {one.tag for one in holds} == {EXISTING}
    assert max(one.delay for one in program.synapses) <= LONGEST_DELAY
    assert program.latency == layers
    _exact(graph, LoihiEngine(program, graph), 1)


def test_numbers_wait_in_accumulators() -> None:
    graph = deep(70, 3, (69,))
    program = loihi2().program(graph)
    (hold,) = [one for one in program.processes if ".held" in one.name]
    assert (hold.model, hold.tag) == ("sum", PROGRAM)
    _exact(graph, LoihiEngine(program, graph), 3)


def _exact(graph: Graph, engine: Engine, high: int) -> None:
    frames = np.random.default_rng(0).integers(0, high + 1, (6, 3, SIZE)).astype(np.uint8)
    reference = ReferenceEngine(graph)
    engines: dict[str, Engine] = {"reference": reference, "loihi": engine}
    assert not compare_engines(engines, [("deep", frames)]).mismatches
    reference.reset(3)
    assert 0.05 < list(reference.run(frames).spikes.values())[-1].mean() < 0.95


def chain(reads: Sequence[int], steps: int) -> Network:
    """A chain of populations, some of which also read the first."""
    names = [f"p{number}" for number in range(max(reads) + 1)]
    populations = tuple(
        Population(name, (2,), "neuron" if number else "input", (0, 1)) for number, name in enumerate(names)
    )
    kernels, projections = {}, list[Projection]()
    for number, population in enumerate(populations[1:], 1):
        for source in {number - 1, *((0,) if number in reads else ())}:
            projection, ones = Relation.identity(populations[source]).projection(population)
            assert ones is not None
            kernels[ones.name] = ones
            projections.append(projection)
    return Network("chain", populations, tuple(projections), tuple(kernels.values()), (names[-1],), steps)


@pytest.mark.parametrize(("steps", "holds"), [(1, 3), (16, 3), (200, 2)])
def test_a_chain_of_holds_is_shared_and_as_short_as_can_be(steps: int, holds: int) -> None:
    """Waits of 99, 149 and 249 steps. A hold reaches 62 + K steps; synapses do the last 62."""
    network = chain((100, 150, 250), steps)
    timing = retime(network)
    held, found = with_holds(network, timing, 4)
    assert len(held.populations) - len(network.populations) == holds
    assert max(found.delays.values()) <= LONGEST_DELAY
    assert min(found.delays.values()) >= 0
    assert {name: found.depth[name] for name in timing.depth} == timing.depth
    assert all(one.late < steps for one in held.populations)


def test_a_network_that_needs_none_stays() -> None:
    network = chain((60,), 1)
    timing = retime(network)
    assert with_holds(network, timing, 4) == (network, timing)
