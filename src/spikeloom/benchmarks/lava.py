"""Layers under Lava's simulation on a processor, against the event engine, by the clock.

Lava runs each of its processes as one of the system's, so that the clock is the only measure that both
share. The networks hold what Lava's registers hold (even weights, thresholds of whole inputs), and every
spike is compared.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.benchmarks.networks import DECAY, BenchNetwork, chip_conv_layer, chip_dense_layer
from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.errors import InputError, MismatchError
from spikeloom.runtime.engines.event.engine import EventEngine
from spikeloom.targets.loihi.environment import find_worker

WORKER = Path(__file__).with_name("lava_worker.py")
LAYERS: tuple[Callable[[], BenchNetwork], ...] = (
    partial(chip_dense_layer, 256),
    partial(chip_dense_layer, 1024),
    partial(chip_conv_layer, 16, 32, 20),
)
_PATIENCE = 300.0


def against_lava(rounds: int) -> list[dict[str, Any]]:
    """Seconds of a step of each layer under Lava and on the event engine; empty without Lava.

    Both get all frames in one call; the engine also one frame a call. The load of the machine (over five
    minutes) is noted before each layer.

    Raises:
        MismatchError: SL0802, Lava's spikes are others.
    """
    try:
        python = find_worker()
    except InputError:
        return []
    return [_race(make(), python, rounds) for make in LAYERS]


def _race(network: BenchNetwork, python: Path, rounds: int) -> dict[str, Any]:
    steps, load = len(network.frames), os.getloadavg()[1]
    with TemporaryDirectory() as folder:
        spikes, lava = _run(network, python, Path(folder), rounds)
    engine = EventEngine(network.graph)
    ours, wanted = _time_event(engine, [network.frames], rounds)
    stepped, _ = _time_event(engine, [frame[None] for frame in network.frames], rounds)
    if (wanted[:-1] != _ours(spikes)[1:]).any():  # Lava's synapses take a step
        raise MismatchError.of("SL0802", f"{network.name}, Lava", "differs from the event engine")
    ratios = [a / b for a, b in zip(lava, ours, strict=True)]
    return {
        "network": network.name,
        "steps": steps,
        "rate": float(wanted.mean()),
        "load": load,
        "lava_seconds": median(lava) / steps,
        "event_seconds": median(ours) / steps,
        "event_step_seconds": median(stepped) / steps,
        "times_as_fast": {"median": median(ratios), "min": min(ratios), "max": max(ratios)},
    }


def _time_event(
    engine: EventEngine, calls: list[NDArray[np.uint8]], rounds: int
) -> tuple[list[float], NDArray[np.uint8]]:
    """Seconds of the event engine for all frames, handed over in these calls, and its spikes [steps, ...]."""
    seconds, sent = [], []
    for _ in range(rounds + 1):
        engine.reset(1)
        start = perf_counter()
        sent = [engine.run(frames) for frames in calls]
        seconds.append(perf_counter() - start)
    (layer,) = sent[0].spikes
    return seconds[1:], np.concatenate([trace.spikes[layer][:, 0] for trace in sent])


def _run(network: BenchNetwork, python: Path, folder: Path, rounds: int) -> tuple[Array, list[float]]:
    """Lava's spikes [steps, ...] and the seconds of each run of all frames.

    Raises:
        InputError: SL0801, Lava fails.
    """
    weighted, neurons = _parts(network)
    assert isinstance(neurons.op, IntegerNeuron)
    registers = {"decay": DECAY, "vth": int(neurons.op.theta.max()) >> 6, "rounds": rounds}
    layer = {"frames": _lavas(network.frames[:, 0]), **_weights(weighted), **registers}
    np.savez(folder / "layer.npz", allow_pickle=False, **{name: np.asarray(a) for name, a in layer.items()})
    try:
        subprocess.run(
            [str(python), "-I", str(WORKER), str(folder)], check=True, capture_output=True, timeout=_PATIENCE
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        raise InputError.of("SL0801", "lava", f"failed on {network.name}: {said[-1:]}") from error
    seconds: list[float] = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
    return np.load(folder / "spikes.npy", allow_pickle=False), seconds


def _parts(network: BenchNetwork) -> tuple[Node, Node]:
    weighted, neurons = network.graph.nodes
    return weighted, neurons


def _weights(node: Node) -> dict[str, Any]:
    """As Lava holds them: [outputs, inputs], or [outputs, height, width, inputs], turned round."""
    if isinstance(node.op, Linear):
        return {"weight": node.op.weight}
    assert isinstance(node.op, Convolution)
    return {"weight": node.op.weight.transpose(0, 2, 3, 1)[:, ::-1, ::-1], "padding": node.op.padding[0]}


def _lavas(frames: NDArray[Any]) -> NDArray[Any]:
    """[steps, channels, height, width] with the channels last."""
    return frames if frames.ndim == 2 else frames.transpose(0, 2, 3, 1)


def _ours(frames: NDArray[Any]) -> NDArray[Any]:
    """And back."""
    return frames if frames.ndim == 2 else frames.transpose(0, 3, 1, 2)
