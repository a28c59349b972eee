"""lava-dl's own netx, run in Lava's environment on a ``.net`` file: what our reader and writer answer to."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.op import StatefulOp
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.targets.loihi.lava import WORKER

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sent:
    """What netx gave.

    Attributes:
        layers: by the number in the file, [steps, samples, ...], each from its own first step on.
        potential: of the last layer, likewise; empty where it is no LIF.
    """

    layers: dict[int, Ints]
    potential: Ints


def run_netx(
    python: Path,
    net: bytes,
    frames: NDArray[Any],
    depths: dict[int, int],
    *,
    resets: bool = True,
    spike_exp: int = 6,
    message_bits: int = 0,
) -> Sent:
    """Samples [steps, samples, ...] one after the other through netx's pipeline.

    Args:
        python: of :func:`spikeloom.targets.loihi.environment.find_netx`.
        net: the file.
        frames: what is injected.
        depths: synapses between what is injected and each layer, by its number in the file.
        resets: whether each layer is reset before each sample, as LIF alone can be; else there is one.
        spike_exp, message_bits: of :mod:`spikeloom.targets.loihi.worker.run_netx`.
    """
    steps, samples = frames.shape[:2]
    assert resets or samples == 1
    row = np.swapaxes(frames, 0, 1).reshape(steps * samples, *frames.shape[2:])
    drained = np.concatenate([row, np.zeros((max(depths.values()), *row.shape[1:]), row.dtype)])
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "network.net").write_bytes(net)
        settings = {"spike_exp": spike_exp, "message_bits": message_bits, "interval": steps * resets}
        np.savez(folder / "given.npz", frames=drained, **settings)
        command: list[str | Path] = [python, "-I", WORKER / "run_netx.py", folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        with np.load(folder / "results.npz") as results:
            sent = {key: results[key] for key in results.files}

    def aligned(array: Ints, depth: int) -> Ints:
        row = array[depth : depth + steps * samples]
        return np.swapaxes(row.reshape(samples, steps, *array.shape[1:]), 0, 1)

    potential = sent.pop("v", np.zeros(0, np.int64))
    last = max(depths.values())
    layers = {int(key): aligned(array, depths[int(key)]) for key, array in sent.items()}
    return Sent(layers, aligned(potential, last) if potential.size else potential)


def in_chip_time(graph: Graph, frames: NDArray[Any]) -> dict[str, Ints]:
    """What every node gives in each chip step, [steps, ...], when all layers start at once and none is reset.

    That is how lava-dl runs sigma-delta neurons: weights take what was sent in the step before, so that a
    layer runs some steps on its bias alone until the first frame reaches it. The operations are the graph's.

    Args:
        graph: of one sample.
        frames: [steps, ...].
    """
    state = {node.name: _start(graph, node) for node, _ in graph.stateful()}
    before = {name: np.zeros((1, *kind.shape), np.int64) for name, kind in graph.types.items()}
    found: list[dict[str, Ints]] = []
    for frame in frames:
        now = {graph.inputs[0]: frame[None].astype(np.int64)}
        for node in graph.nodes:
            waits = isinstance(node.op, Linear | Conv2d)
            inputs = tuple((before if waits else now)[name] for name in node.inputs)
            if isinstance(node.op, StatefulOp):
                results, state[node.name] = node.op.step(inputs, state[node.name])
            else:
                results = node.op.evaluate(*inputs)
            now.update(zip(node.outputs, results, strict=True))
        before = now
        found.append(now)
    return {name: np.stack([step[name][0] for step in found]) for name in found[0]}


def _start(graph: Graph, node: Node) -> dict[str, Ints]:
    assert isinstance(node.op, StatefulOp)
    return {name: array[None] for name, array in node.op.initial(*graph.input_types(node)).items()}
