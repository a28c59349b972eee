"""The Heidelberg spiking data sets (SHD, SSC) in HDF5: spikes/times, spikes/units and labels.

Source: Cramer et al., «The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking Neural
Networks», IEEE TNNLS 2020. Each file holds thousands of recordings. Times are seconds, here rounded to
microseconds; a unit of the cochlea, 0 to 699, becomes the column x of row 0, every spike is «on».
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spikeloom.runtime.events.hdf5 import Layout, Table
from spikeloom.runtime.events.stream import Events, Geometry, Item, Malformed
from spikeloom.runtime.events.table import seconds_to_us, to_events

if TYPE_CHECKING:
    import h5py

_TIMES, _UNITS, _LABELS = "spikes/times", "spikes/units", "labels"
_MOST = 10_000_000


def spikes(times: object, units: object) -> Table:
    """A recording of times [n] in seconds and units [n].

    Raises:
        Malformed: they differ in length.
    """
    seconds, x = np.asarray(times), np.asarray(units)
    if seconds.ndim != 1 or seconds.shape != x.shape:
        raise Malformed("times and units differ", got=f"{seconds.shape} and {x.shape}")
    t = seconds_to_us(seconds)

    def read(start: int, stop: int) -> tuple[Events, int]:
        ones = np.ones(stop - start, np.uint8)
        return to_events({"t": t[start:stop], "x": x[start:stop], "y": 0 * ones, "p": ones})

    return Table(len(t), seconds.dtype.itemsize + x.dtype.itemsize, read)


def _matches(file: h5py.File) -> bool:
    return _TIMES in file and _UNITS in file


def _geometry(file: h5py.File) -> Geometry | None:
    return Geometry(700, 1)


def _items(file: h5py.File) -> list[Item]:
    count = len(file[_TIMES])
    if len(file[_UNITS]) != count or count > _MOST:
        raise Malformed("times and units differ in number", got=f"{count:,} and {len(file[_UNITS]):,}")
    labels = np.asarray(file[_LABELS][:count]) if _LABELS in file else None
    if labels is None or labels.shape != (count,) or labels.dtype.kind not in "iu":
        return [Item(str(index)) for index in range(count)]
    return [Item(str(index), int(label)) for index, label in enumerate(labels)]


def _item(file: h5py.File, index: int) -> Table:
    if not 0 <= index < len(file[_TIMES]):
        raise Malformed(f"there is no recording {index}", f"0 to {len(file[_TIMES]) - 1}")
    return spikes(file[_TIMES][index], file[_UNITS][index])


LAYOUT = Layout("SHD or SSC", _matches, _geometry, items=_items, item=_item)
