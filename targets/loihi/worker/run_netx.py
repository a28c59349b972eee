"""Run a ``.net`` file by lava-dl's own netx: ``python3.10 run_netx.py FOLDER``.

The folder holds ``network.net`` and ``given.npz``: ``frames`` [steps, ...], what is injected in each chip
step; ``interval``, steps between resets, or 0; ``spike_exp`` of sigma-delta neurons; ``message_bits`` of
what is injected, 0 for spikes. What each layer sent in each chip step goes to ``results.npz`` under the
number of the layer, [steps, ...] with axes in the order channels, height, width; ``v`` is the potential of
the last layer.

Needs lava-nc 0.10.0, lava-dl 0.6.0 and h5py. lava-dl imports torch for two names that netx never needs;
they stand in here, so that torch need not be installed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

Arrays = Any
Settings = Any


def main(folder: Path) -> None:
    """Run, write what was sent."""
    with np.load(folder / "given.npz", allow_pickle=False) as given:
        results = run(
            str(folder / "network.net"),
            given["frames"],
            int(given["interval"]),
            int(given["spike_exp"]),
            int(given["message_bits"]),
        )
    np.savez_compressed(folder / "results.npz", **results)


def run(path: str, frames: Arrays, interval: int, spike_exp: int, message_bits: int) -> dict[str, Arrays]:
    """What every layer sent, and the potential of the last one.

    Args:
        path: of the file.
        frames: [steps, ...].
        interval: steps between resets; 0 for none.
        spike_exp: binary digits of what sigma-delta neurons send.
        message_bits: of the input; 0 for spikes.
    """
    stand_in_for_torch()
    from lava.lib.dl.netx import hdf5
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source
    from lava.proc.monitor.process import Monitor

    own = has_own_neurons(hdf5, path)
    network = hdf5.Network(
        net_config=path,
        input_shape=frames.shape[:0:-1],
        input_message_bits=message_bits,
        reset_interval=interval or None,
        reset_offset=0 if own else 1,
        spike_exp=spike_exp,
    )
    steps = len(frames)
    entrance = network.in_layer.neuron.a_in if own else network.inp
    if len(entrance.shape) == 1:  # an input that is flattened before anything else
        frames = frames.reshape(len(frames), -1)
    Source(data=frames.T.astype(np.int32)).s_out.connect(entrance)
    configuration = Loihi2SimCfg(select_tag="fixed_pt", select_sub_proc_model=True)
    sinks = []
    for layer in network.layers:
        sinks.append(Sink(shape=layer.shape, buffer=steps))
        layer.out.connect(sinks[-1].a_in)
    probe, last = Monitor(), network.layers[-1].neuron
    watched = last.v if hasattr(last, "v") else None
    if watched is not None:
        probe.probe(watched, steps)
    try:
        network.run(condition=RunSteps(num_steps=steps), run_cfg=configuration)
        sent = {
            str(number): np.asarray(sink.data.get()).T.astype(np.int64)
            for number, sink in zip(numbers(hdf5, path), sinks, strict=True)
        }
        if watched is not None:
            potentials = probe.get_data()[last.name][watched.name]
            rows = potentials.reshape(steps, *watched.shape)
            sent["v"] = rows.transpose(0, *range(rows.ndim - 1, 0, -1)).astype(np.int64)
        return sent
    finally:
        network.stop()


def has_own_neurons(hdf5: Settings, path: str) -> bool:
    """Whether the first layer has neurons and no synapses: it takes what is injected in the same step."""
    layer = hdf5.NetDict(path)["layer"][0]
    return layer["type"] == "input" and "neuron" in {*layer.keys()}


def numbers(hdf5: Settings, path: str) -> list[int]:
    """The layers of the file that netx makes something of."""
    layers = hdf5.NetDict(path)["layer"]
    made = [(number, layers[number]) for number in range(len(layers))]
    return [number for number, layer in made if layer["type"] != "flatten" and "neuron" in {*layer.keys()}]


def stand_in_for_torch() -> None:
    """Modules under the names that lava-dl imports, with what netx reads of them."""
    torch = ModuleType("torch")
    torch.tensor = np.ndarray  # type: ignore[attr-defined]
    torch.is_tensor = lambda _: False  # type: ignore[attr-defined]
    resonator = ModuleType("lava.lib.dl.slayer.neuron.rf")
    resonator.neuron_params = neuron_params  # type: ignore[attr-defined]
    for name in ("lava.lib.dl.slayer", "lava.lib.dl.slayer.neuron"):
        sys.modules[name] = ModuleType(name)
    sys.modules |= {"torch": torch, resonator.__name__: resonator}


def neuron_params(registers: Settings) -> dict[str, float]:
    """Period in steps and decay of a resonator, of its registers of 12 bits: a e^(i phi) = cos + i sin."""
    real, imaginary = registers["cosDecay"] / 4096, registers["sinDecay"] / 4096
    return {
        "threshold": registers["vThMant"] / 64,
        "decay": 1 - np.sqrt(imaginary**2 + real**2),
        "period": 1 / (np.arctan2(imaginary, real) / 2 / np.pi),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
