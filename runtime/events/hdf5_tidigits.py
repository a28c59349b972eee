"""N-TIDIGITS18 in HDF5: groups of addresses and of times, each with a list for every utterance.

Source: Anumula et al., «Feature Representations for Neuromorphic Audio Spike Streams», Frontiers in
Neuroscience 12:23, 2018. Groups are train_addresses, train_timestamps and the same of test; names such as
«man-ae-39» say the speaker, and in the last part the digits spoken. Times are seconds, here rounded to
microseconds; a channel of the cochlea, 0 to 63, becomes the column x of row 0, every spike is «on». A class
is given where one single digit was spoken: zero is 0, «o» is 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spikeloom.runtime.events.hdf5 import Layout, Table
from spikeloom.runtime.events.hdf5_shd import spikes
from spikeloom.runtime.events.stream import Geometry, Item, Malformed

if TYPE_CHECKING:
    import h5py

_PARTS = ("train", "test")
_DIGITS = {"z": 0, "o": 10} | {str(digit): digit for digit in range(1, 10)}


def _names(file: h5py.File) -> list[tuple[str, str]]:
    """The part and name of each recording."""
    return [
        (part, name)
        for part in _PARTS
        if f"{part}_addresses" in file and f"{part}_timestamps" in file
        for name in file[f"{part}_timestamps"]
        if name in file[f"{part}_addresses"]
    ]


def _matches(file: h5py.File) -> bool:
    return any(f"{part}_addresses" in file and f"{part}_timestamps" in file for part in _PARTS)


def _geometry(file: h5py.File) -> Geometry | None:
    return Geometry(64, 1)


def _label(name: str) -> int | None:
    """The class of a recording of a single digit from its name, «man-ae-1».

    >>> _label("man-ae-o"), _label("man-ae-39")
    (10, None)
    """
    return _DIGITS.get(name.rpartition("-")[2].lower())


def _items(file: h5py.File) -> list[Item]:
    return [Item(f"{part}/{name}", _label(name)) for part, name in _names(file)]


def _item(file: h5py.File, index: int) -> Table:
    names = _names(file)
    if not 0 <= index < len(names):
        raise Malformed(f"there is no recording {index}", f"0 to {len(names) - 1}")
    part, name = names[index]
    return spikes(file[f"{part}_timestamps"][name][()], file[f"{part}_addresses"][name][()])


LAYOUT = Layout("N-TIDIGITS", _matches, _geometry, items=_items, item=_item)
