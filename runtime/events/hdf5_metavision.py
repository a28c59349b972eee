"""Metavision's layout in HDF5: a table CD/events of x, y, p, t, and the attribute «geometry».

Source: docs.prophesee.ai, «HDF5 Event File Format». Such files are compressed by the ECF codec, a filter of
HDF5's (number 36559) that must be installed as a plug-in; without it the file is refused by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spikeloom.runtime.events.hdf5 import Layout, Table, attribute_geometry, dataset
from spikeloom.runtime.events.stream import Events, Geometry
from spikeloom.runtime.events.table import find_columns, to_events

if TYPE_CHECKING:
    import h5py

_EVENTS = "CD/events"


def _matches(file: h5py.File) -> bool:
    return _EVENTS in file


def _geometry(file: h5py.File) -> Geometry | None:
    return attribute_geometry(file)


def _table(file: h5py.File) -> Table:
    found = dataset(file, _EVENTS)
    names = find_columns(list(found.dtype.names or ()))

    def read(start: int, stop: int) -> tuple[Events, int]:
        rows = found[start:stop]
        return to_events({field: rows[name] for field, name in names.items()})

    return Table(len(found), found.dtype.itemsize, read)


LAYOUT = Layout("Metavision", _matches, _geometry, _table)
