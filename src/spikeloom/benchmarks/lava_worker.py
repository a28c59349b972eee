"""Time a layer under Lava: ``python3.10 lava_worker.py FOLDER``; needs lava-nc 0.10.0 alone.

``layer.npz`` in the folder holds ``weight``, ``frames`` [steps, ...] and the registers of the neurons. What
they send goes to ``spikes.npy``, the seconds of each run of all frames, by the clock, to ``seconds.json``.
Lava's own processes throughout: a source, Dense or Conv, LIF, a sink, with its fixed-point models.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np


def main(folder: Path) -> None:
    """Run all frames so often as asked, and once more before that."""
    layer = dict(np.load(folder / "layer.npz", allow_pickle=False))
    steps, rounds = len(layer["frames"]), int(layer["rounds"])
    conditions = import_module("lava.magma.core.run_conditions")
    configs = import_module("lava.magma.core.run_configs")
    sink = _network(layer, steps * (rounds + 1))
    seconds = []
    try:
        for _ in range(rounds + 1):
            start = perf_counter()
            sink.run(
                condition=conditions.RunSteps(num_steps=steps),
                run_cfg=configs.Loihi2SimCfg(select_tag="fixed_pt"),
            )
            seconds.append(perf_counter() - start)
        np.save(folder / "spikes.npy", np.moveaxis(sink.data.get(), -1, 0)[:steps].astype(np.uint8))
    finally:
        sink.stop()
    (folder / "seconds.json").write_text(json.dumps(seconds[1:]))


def _network(layer: dict[str, Any], steps: int) -> Any:
    """The processes, connected; returns the last."""
    frames = np.moveaxis(layer["frames"], 0, -1).astype(np.int32)
    source = import_module("lava.proc.io.source").RingBuffer(data=frames)
    synapses = _synapses(layer)
    shape = synapses.a_out.shape
    neurons = import_module("lava.proc.lif.process").LIF(
        shape=shape, du=4095, dv=int(layer["decay"]), vth=int(layer["vth"])
    )
    sink = import_module("lava.proc.io.sink").RingBuffer(shape=shape, buffer=steps)
    source.s_out.connect(synapses.s_in)
    synapses.a_out.connect(neurons.a_in)
    neurons.s_out.connect(sink.a_in)
    return sink


def _synapses(layer: dict[str, Any]) -> Any:
    weight = layer["weight"].astype(np.int32)
    if weight.ndim == 2:
        return import_module("lava.proc.dense.process").Dense(weights=weight)
    shape, padding = layer["frames"].shape[1:], int(layer["padding"])
    return import_module("lava.proc.conv.process").Conv(weight=weight, input_shape=shape, padding=padding)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
