"""MVSEC's layout in HDF5: davis/left/events, a list [n, 4] of x, y, time in seconds, and polarity ±1.

Source: Zhu et al., «The Multi Vehicle Stereo Event Camera Dataset», RA-L 2018, and its page on the data. The
left of the two cameras is read (a DAVIS346, 346×260).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spikeloom.runtime.events.hdf5 import Layout, Table, dataset
from spikeloom.runtime.events.stream import Events, Geometry, Malformed
from spikeloom.runtime.events.table import seconds_to_us, to_events

if TYPE_CHECKING:
    import h5py

_EVENTS = "davis/left/events"
_FIELDS = 4


def _matches(file: h5py.File) -> bool:
    return _EVENTS in file


def _geometry(file: h5py.File) -> Geometry | None:
    return Geometry(346, 260)


def _table(file: h5py.File) -> Table:
    found = dataset(file, _EVENTS, dimensions=2)
    if found.shape[1] != _FIELDS:
        raise Malformed(f"{_EVENTS} is no list of events", "shape [n, 4]", str(list(found.shape)))

    def read(start: int, stop: int) -> tuple[Events, int]:
        rows = found[start:stop]
        return to_events({"t": seconds_to_us(rows[:, 2]), "x": rows[:, 0], "y": rows[:, 1], "p": rows[:, 3]})

    return Table(len(found), _FIELDS * found.dtype.itemsize, read)


LAYOUT = Layout("MVSEC", _matches, _geometry, _table)
