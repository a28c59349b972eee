"""Sigma-delta neurons on the chip: the engine's steps and Lava's own neurons against the integer graph."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import Type, current, levels
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.sigma_delta import SigmaDelta
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.targets.loihi import loihi2
from spikeloom.targets.loihi.engine import LoihiEngine
from spikeloom.targets.loihi.lava import LavaEngine
from spikeloom.targets.loihi.program import Program

STEPS, SAMPLES = 7, 3


def network(seed: int) -> Graph:
    """A delta layer on bytes, a shortcut that waits, odd and even weights, a sum that is read."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder("changes", Stage.INTEGER, "loihi2")
    x = builder.input("x", Type((12,), levels(255)))
    first = SigmaDelta(3 << 12, np.array(-128 << 12), 6, 12, integrates=False, rectifies=False)
    (x,) = builder.add("input", first, x)
    (y,) = builder.add("one.weights", Linear(rng.integers(-60, 61, (9, 12)).astype(np.int8)), x)
    bias = rng.integers(-20, 30, 9) << 12
    (y,) = builder.add("one", SigmaDelta(5 << 12, bias, 6), y)
    (y,) = builder.add("two.weights", Linear(rng.integers(-30, 30, (8, 9)).astype(np.int8) * 2), y)
    (y,) = builder.add("two", SigmaDelta(0, np.zeros(8, np.int64), 6, rectifies=seed % 2 == 0), y)
    (y,) = builder.add("head.weights", Linear(rng.integers(-30, 30, (4, 8)).astype(np.int8)), y)
    builder.output(builder.add("head", Accumulate(STEPS), y)[0])
    return builder.build()


def frames(seed: int) -> np.ndarray:
    """Bytes that change in some steps."""
    rng = np.random.default_rng(seed)
    changes = rng.integers(-30, 31, (STEPS, SAMPLES, 12)) * (rng.random((STEPS, SAMPLES, 1)) < 0.6)
    moved: np.ndarray = np.clip(rng.integers(60, 190, (1, SAMPLES, 12)) + changes.cumsum(0), 0, 255)
    return moved.astype(np.uint8)


def check(graph: Graph, engine: Engine, samples: np.ndarray, calls: int) -> None:
    reference = ReferenceEngine(graph)
    reference.reset(SAMPLES)
    engine.reset(SAMPLES)
    given = 0
    for part in np.array_split(samples, calls):
        wanted, got = reference.run(part).output, engine.run(part).output
        assert (got == wanted).all()
        given += int(np.abs(wanted).sum())
    assert given > 0


@pytest.mark.parametrize("seed", range(6))
def test_the_chips_steps_are_the_graphs_in_one_call_and_in_three(seed: int) -> None:
    graph, samples = network(seed), frames(seed)
    program = loihi2().program(graph)
    for calls in (1, 3):
        engine = LoihiEngine(program, graph)
        check(graph, engine, samples, calls)
        state, reference = engine.state(), ReferenceEngine(graph)
        reference.reset(SAMPLES)
        reference.run(samples)
        for name, array in reference.state().items():
            assert (state[name] == array).all(), name
            assert array.any(), name
        other = LoihiEngine(program, graph)
        other.restore(state)
        assert (other.run(samples).output == engine.run(samples).output).all()


def test_a_program_with_them_is_the_same_again() -> None:
    program = loihi2().program(network(0))
    again = Program.from_parts(*program.to_parts())
    document, arrays = program.to_parts()
    assert again.to_parts()[0] == document
    assert all((again.to_parts()[1][name] == array).all() for name, array in arrays.items())
    assert sum(one.model == "sigma_delta" for one in program.processes) == 3


def test_a_sum_that_leaves_24_bits_wraps() -> None:
    op, kind = SigmaDelta(0, np.array(0), 0, rectifies=False), Type((1,), current(-(2**26), 2**26))
    state = {name: array[None] for name, array in op.initial(kind).items()}
    (y,), after = op.step((np.array([[2**24 + 5]]),), state)
    assert (int(y[0, 0]), int(after["sigma"][0, 0])) == (5, 5)


@pytest.mark.lava
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.usefixtures("lava")
def test_lavas_neurons_send_the_same(seed: int) -> None:
    graph, samples = network(seed), frames(seed)
    engine = LavaEngine(loihi2().program(graph), graph)
    result = compare_engines({"reference": ReferenceEngine(graph), "lava": engine}, [("changes", samples)])
    assert not result.mismatches, result.first
