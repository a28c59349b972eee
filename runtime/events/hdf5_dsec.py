"""DSEC's layout in HDF5: data sets events/t, x, y, p, and t_offset, which is added to the times.

Source: Gehrig et al., «DSEC: A Stereo Event Camera Dataset for Driving Scenarios», RA-L 2021, and its page on
the data format. Times are microseconds. Attributes «width» and «height» of the group are ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spikeloom.atomic import replacing
from spikeloom.errors import InputError
from spikeloom.runtime.events.hdf5 import Layout, Table, attribute_geometry, columns
from spikeloom.runtime.events.limits import require_writable_events
from spikeloom.runtime.events.stream import Events, Geometry
from spikeloom.runtime.events.table import to_events

if TYPE_CHECKING:
    import h5py

MAX_TIME_US = 2**62
_LONGEST_US = 2**32 - 1
_COLUMNS = {field: f"events/{field}" for field in ("t", "x", "y", "p")}


def write_hdf5(path: Path | str, events: Events, geometry: Geometry) -> None:
    """Write events [n] of dtype EVENT, in order of time, in DSEC's layout, whole or not at all.

    Raises:
        InputError: SL0107, events outside the sensor, times running backwards or more than 71 minutes
            apart; SL0902, the path cannot be written.
    """
    import h5py

    path = Path(path)
    require_writable_events(path, events, geometry, MAX_TIME_US, "DSEC")
    origin = int(events["t"][0]) if len(events) else 0
    times = events["t"] - origin
    if len(times) and times[-1] > _LONGEST_US:
        raise InputError.of(
            "SL0107", path, "is too long", wanted=f"{_LONGEST_US:,} us", got=f"{times[-1]:,} us"
        )
    milliseconds = np.arange(int(times[-1]) // 1000 + 1 if len(times) else 0) * 1000
    with replacing(path) as draft, h5py.File(draft, "w") as file:
        group = file.create_group("events")
        group.attrs["width"], group.attrs["height"] = geometry.width, geometry.height
        group.create_dataset(
            "t", data=times.astype(np.uint32), compression="gzip", chunks=_chunks(len(events))
        )
        for field in ("x", "y", "p"):
            column = np.ascontiguousarray(events[field])
            group.create_dataset(field, data=column, compression="gzip", chunks=_chunks(len(events)))
        file["ms_to_idx"] = np.searchsorted(times, milliseconds).astype(np.uint64)
        file["t_offset"] = np.int64(origin)


def _chunks(length: int) -> tuple[int] | None:
    return (min(length, 1 << 16),) if length else None


def _matches(file: h5py.File) -> bool:
    return all(name in file for name in _COLUMNS.values())


def _geometry(file: h5py.File) -> Geometry | None:
    return attribute_geometry(file["events"])


def _table(file: h5py.File) -> Table:
    found = columns(file, _COLUMNS)
    offset = int(file["t_offset"][()]) if "t_offset" in file else 0

    def read(start: int, stop: int) -> tuple[Events, int]:
        events, bad = to_events({field: column[start:stop] for field, column in found.items()})
        events["t"] += offset
        return events, bad

    return Table(len(found["t"]), sum(column.dtype.itemsize for column in found.values()), read)


LAYOUT = Layout("DSEC", _matches, _geometry, _table)
