"""lava-dl's ``.net`` files (HDF5), as records.

``/layer/<i>`` holds a layer: its type, geometry, weights as the chip stores them, and a group
``neuron`` (lava-dl @ d825ac5, ``slayer/block/base.py`` and ``netx/hdf5.py``). netx loads ``input``,
``conv``, ``dense``, ``dense_rec`` and ``flatten``, and ``dense`` layers with complex weights; so do we, and
``dense_comp`` layers, for which netx has no function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.frontends.hdf5 import unsafe
from spikeloom.errors import InputError


@dataclass(frozen=True)
class NetxLayer:
    """One layer as it is stored.

    Attributes:
        type: such as «conv».
        values: arrays and numbers by name.
        neuron: of the group ``neuron``; ``type`` is a text.
    """

    type: str
    values: Mapping[str, NDArray[Any]]
    neuron: Mapping[str, Any] = field(default_factory=dict)

    def pair(self, name: str, default: int) -> tuple[int, int]:
        """Two numbers of a geometry, (y, x)."""
        y, x = np.broadcast_to(self.values.get(name, np.array(default)), (2,)).tolist()
        return int(y), int(x)


@dataclass(frozen=True)
class NetxFile:
    """A network as it is stored.

    Attributes:
        name: of the file.
        layers: in order.
        steps: time steps of a sample, if the file says it; else 0.
    """

    name: str
    layers: tuple[NetxLayer, ...]
    steps: int = 0


def read_netx(path: Path) -> NetxFile:
    """Read a file; nothing outside of it is opened.

    Raises:
        InputError: SL0214, the file is missing, damaged, no netx file, too large, or leads outside.
    """
    import h5py

    if not path.is_file():
        raise InputError.of("SL0214", path, "there is no such file")
    try:
        with h5py.File(path, "r") as file:
            if problems := unsafe(file, str(path), "SL0214"):
                raise InputError(problems)
            groups = file["layer"]
            layers = tuple(_layer(groups[str(number)]) for number in range(len(groups)))
            steps = int(file["simulation/tSample"][()]) if "simulation/tSample" in file else 0
    except InputError:
        raise
    except Exception as error:  # h5py raises a dozen kinds of exception on damaged files
        raise InputError.of("SL0214", path, f"is no netx file: {type(error).__name__}: {error}") from error
    if not layers:
        raise InputError.of("SL0214", path, "holds no layers")
    return NetxFile(path.stem, layers, steps)


def _layer(group: Any) -> NetxLayer:
    neuron = group.get("neuron", {})
    named = [name for name in group if name not in ("neuron", "type", "weight")]
    named += ["weight"] if hasattr(group.get("weight"), "shape") else []
    named += [f"weight/{part}" for part in ("real", "imag") if f"weight/{part}" in group]
    values = {name: np.asarray(group[name][()]) for name in named}
    return NetxLayer(_text(group["type"][()]), values, {name: _value(neuron[name]) for name in neuron})


def _value(item: Any) -> Any:
    value = item[()]
    return _text(value) if isinstance(value, (bytes, str)) else np.asarray(value)


def _text(value: Any) -> str:
    first = value.ravel()[0] if isinstance(value, np.ndarray) else value
    return first.decode() if isinstance(first, bytes) else str(first)
