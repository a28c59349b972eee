"""Recurrent layers on the chip: random ones on the engine, and some under Lava itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.errors import UnsupportedError
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.targets.loihi import loihi1, loihi2
from spikeloom.targets.loihi.engine import LoihiEngine
from spikeloom.targets.loihi.lava import LavaEngine
from tests.engines.agreement import disagreements

STEPS, BATCH, N = 9, 3, 10
STEP = 64


def _weights(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(-50, 70, shape).astype(np.int8)


def _layer(rng: np.random.Generator, soft: bool, cuba: bool, wait: int) -> RecurrentNeuron:
    theta = np.full((1, N), int(rng.integers(1, 3)) * 60 * 128)
    return RecurrentNeuron(
        _weights(rng, N, N),
        theta,
        np.zeros(N, int) if cuba else rng.integers(-8, 9, N) << 7,
        int(rng.choice([410, 2048, 4095])),
        7,
        2048 if cuba else None,
        24,
        reset_by=theta[0] + 128 if soft else None,
        wait=wait,
    )


def _network(seed: int, programs: bool = True) -> tuple[Graph, Array]:
    """Two recurrent layers in a row; every kind of reset, current and wait comes with its seed."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder(f"loops{seed}", Stage.INTEGER, "loihi2")
    x = builder.input("x", Type((N,), SPIKES))
    for place in range(2):
        (y,) = builder.add(f"fc{place}", Linear(_weights(rng, N, N)), x)
        op = _layer(rng, programs and bool((seed + place) % 2), bool(seed // 2 % 2), 1 + (seed + place) % 3)
        (x,) = builder.add(f"loop{place}", op, y)
    builder.output(builder.add("head", Linear(_weights(rng, 4, N)), x)[0])
    return builder.build(), (rng.random((STEPS, BATCH, N)) < 0.4).astype(np.uint8)


def _fired(graph: Graph, frames: Array) -> Counter[str]:
    """By layer and kind, whether spikes came back that changed something."""
    trace = ReferenceEngine(graph)
    trace.reset(BATCH)
    spikes = trace.run(frames).spikes
    found: Counter[str] = Counter()
    for node in graph.neurons():
        assert isinstance(node.op, RecurrentNeuron)
        if 0.05 < spikes[node.name].mean() < 0.9:
            found.update({node.op.reset, f"wait {node.op.wait}", f"cuba {node.op.current_decay is not None}"})
    return found


@pytest.mark.parametrize("programs", [True, False])
def test_random_loops_are_exact(programs: bool) -> None:
    """No spike, output or state differs in two calls, on any engine; each kind of loop fires in many."""
    seen: Counter[str] = Counter()
    target = loihi2() if programs else loihi1()
    for seed in range(60):
        graph, frames = _network(seed, programs)
        engines: dict[str, Engine] = {
            "reference": ReferenceEngine(graph),
            "loihi": LoihiEngine(target.program(graph), graph),
        }
        result = compare_engines(engines, [(graph.name, frames)])
        assert not result.mismatches, result.first
        states = [engine.state() for engine in engines.values()]
        assert all((states[1][name] == array).all() for name, array in states[0].items()), graph.name
        if seed < 12:
            assert not disagreements(graph, frames, cuts=[4])
        seen.update(_fired(graph, frames))
    kinds = {"hard", "wait 1", "wait 2", "wait 3", "cuba True", "cuba False", *(["soft"] if programs else [])}
    assert all(seen[kind] >= 10 for kind in kinds), seen


def test_a_state_goes_on_from_another_engine() -> None:
    """Spikes on their way back, of which some are two steps old, are handed over."""
    for seed in range(6):
        graph, frames = _network(seed)
        whole, first = ReferenceEngine(graph), ReferenceEngine(graph)
        second = LoihiEngine(loihi2().program(graph), graph)
        for engine in (whole, first, second):
            engine.reset(BATCH)
        wanted = whole.run(frames).output[5:]
        first.run(frames[:5])
        second.restore(first.state())
        assert (second.run(frames[5:]).output == wanted).all()


def test_what_loihi1_lacks_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"SL060\d loop0"):
        loihi1().program(_network(1)[0])


def test_neurons_on_several_axes_that_drive_themselves_are_refused_by_name() -> None:
    builder = GraphBuilder("map", Stage.INTEGER, "loihi2")
    x = builder.input("x", Type((2, 3, 3), SPIKES))
    op = RecurrentNeuron(np.array(20, np.int8), np.full(1, 60 * 128), np.zeros(1, int), 2048, 7, None, 24)
    builder.output(builder.add("loop", op, x)[0])
    with pytest.raises(UnsupportedError, match=r"SL0602 loop .*stand on several axes"):
        loihi2().program(builder.build())


@pytest.mark.lava
@pytest.mark.parametrize("seed", [0, 1, 3])
def test_lava_agrees(seed: int, lava: Path) -> None:
    """Soft and hard resets, currents, spikes that come back after one to three steps."""
    graph, frames = _network(seed)
    engines: dict[str, Engine] = {
        "reference": ReferenceEngine(graph),
        "lava": LavaEngine(loihi2().program(graph), graph),
    }
    result = compare_engines(engines, [(graph.name, frames)])
    assert not result.mismatches, result.first
    assert result.cells > STEPS * BATCH * N
