"""HDF5 files (``.h5``, ``.hdf5``) of events: which of the known layouts a file has, and reading by pieces.

A layout is a file of its own beside this one. Files that are cut, claim more than they store, or need a
compression that is not installed are refused; what HDF5's own library does with a damaged file cannot be
known in advance, so whatever it raises becomes a refusal, or ends the recording with bytes left over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeloom.errors import counted
from spikeloom.runtime.events.hdf5_chunks import require_whole_chunks
from spikeloom.runtime.events.source import stream_of
from spikeloom.runtime.events.stream import (
    EVENT,
    Chunk,
    Events,
    Format,
    Geometry,
    Header,
    Item,
    Malformed,
    Source,
)

if TYPE_CHECKING:
    import h5py

_LAYOUTS = ("hdf5_dsec", "hdf5_metavision", "hdf5_mvsec", "hdf5_shd", "hdf5_tidigits")
_MOST_COMPRESSED = 2000  # bytes from a stored byte; deflate reaches 1,032
_SMALL = 1 << 20
_CODECS = {36559: "Metavision's ECF", 32001: "Blosc", 32015: "Zstandard", 32004: "LZ4", 32026: "Blosc2"}


@dataclass(frozen=True)
class Table:
    """A recording in a file: its length, its size in bytes, and how to read a range of its events.

    ``read(start, stop)`` gives the events and how many rows are none.
    """

    length: int
    row_bytes: int
    read: Callable[[int, int], tuple[Events, int]]


def _no_table(file: h5py.File) -> Table:
    raise Malformed("holds several recordings", "one, or its items")


def _no_items(file: h5py.File) -> list[Item]:
    return []


def _no_item(file: h5py.File, index: int) -> Table:
    raise Malformed("holds a single recording")


@dataclass(frozen=True)
class Layout:
    """How a data set arranges its events in HDF5: a single recording, or several.

    Attributes:
        title: name for messages.
        matches: whether a file is arranged so.
        geometry: the sensor that a file, or the layout, names.
        table: of a file with one recording.
        items: of a file with several.
        item: the recording at an index.
    """

    title: str
    matches: Callable[[h5py.File], bool]
    geometry: Callable[[h5py.File], Geometry | None]
    table: Callable[[h5py.File], Table] = _no_table
    items: Callable[[h5py.File], list[Item]] = _no_items
    item: Callable[[h5py.File, int], Table] = _no_item


def header(source: Source) -> Header:
    """The layout of a file and its sensor.

    Raises:
        Malformed: it is no HDF5 of a known layout.
    """
    with _opened(source) as (file, layout):
        facts = {"layout": layout.title}
        found = layout.items(file)
        facts["recordings" if found else "events"] = f"{len(found) or layout.table(file).length:,}"
        return Header(layout.geometry(file), facts)


def items(source: Source) -> list[Item]:
    """The recordings of a file that holds several; none of one that holds a single one.

    Raises:
        Malformed: it is no HDF5 of a known layout.
    """
    with _opened(source) as (file, layout):
        return layout.items(file)


def decode(source: Source, chunk_events: int) -> Iterator[Chunk]:
    """The chunks of a file with one recording, each of at most ``chunk_events`` events.

    Raises:
        Malformed: it is no HDF5 of a known layout, or holds several recordings.
    """
    with _opened(source) as (file, layout):
        if found := layout.items(file):
            raise Malformed(
                f"holds {counted(len(found), 'recording')}", "one", remedy="name the file in --events"
            )
        table = layout.table(file)
        yield from _chunks(table, chunk_events)


def decode_item(source: Source, index: int, chunk_events: int) -> Iterator[Chunk]:
    """The chunks of one of several recordings in a file.

    Raises:
        Malformed: it is no HDF5 of a known layout, or has no such recording.
    """
    with _opened(source) as (file, layout):
        yield from _chunks(layout.item(file, index), chunk_events)


def _chunks(table: Table, chunk_events: int) -> Iterator[Chunk]:
    for start in range(0, table.length, chunk_events):
        stop = min(start + chunk_events, table.length)
        try:
            events, bad = table.read(start, stop)
        except _RAISED:
            lost = (table.length - start) * table.row_bytes
            yield Chunk(np.zeros(0, EVENT), left_over_bytes=max(1, lost))
            return
        yield Chunk(events, unknown=bad)


def dataset(file: h5py.File, name: str, dimensions: int = 1) -> h5py.Dataset:
    """A data set whose length can be what it claims, and that can be decompressed here.

    Raises:
        Malformed: there is none, or it is not so.
    """
    found = file.get(name)
    if not hasattr(found, "dtype") or found.ndim != dimensions:
        raise Malformed(f"{name} is no list of {dimensions} dimensions")
    _require_filters(found, name)
    stored = found.id.get_storage_size()
    if found.size * found.dtype.itemsize > _SMALL + _MOST_COMPRESSED * stored:
        raise Malformed(f"{name} claims more than the file stores", got=f"{found.shape} in {stored:,} bytes")
    require_whole_chunks(found, name)
    return found


def columns(file: h5py.File, names: dict[str, str]) -> dict[str, h5py.Dataset]:
    """Data sets of equal length by field.

    Raises:
        Malformed: one is missing, or they differ in length.
    """
    found = {field: dataset(file, name) for field, name in names.items()}
    if len({len(column) for column in found.values()}) != 1:
        lengths = ", ".join(f"{names[field]} {len(column):,}" for field, column in found.items())
        raise Malformed("the columns differ in length", got=lengths)
    return found


def attribute_geometry(node: Any) -> Geometry | None:
    """The sensor that attributes «width» and «height», or «geometry» («1280x720»), name.

    Raises:
        Malformed: they name none that there is.
    """
    sides = [node.attrs.get(name) for name in ("width", "height")]
    if None in sides:
        text = node.attrs.get("geometry", "")
        sides = list(str(text.decode() if isinstance(text, bytes) else text).split("x"))
    if sides == [""]:
        return None
    try:
        return Geometry(*map(int, sides))
    except (TypeError, ValueError) as error:
        raise Malformed("names no sensor", got=str(sides)[:60]) from error


def _require_filters(found: h5py.Dataset, name: str) -> None:
    import h5py

    plist = found.id.get_create_plist()
    for index in range(plist.get_nfilters()):
        number = plist.get_filter(index)[0]
        if not h5py.h5z.filter_avail(number):
            codec = _CODECS.get(number, f"filter {number}")
            remedy = "decompress the file with h5repack where the filter is installed"
            raise Malformed(f"{name} is compressed by {codec}, which is not installed here", remedy=remedy)


_RAISED = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
)


@contextmanager
def _opened(source: Source) -> Iterator[tuple[h5py.File, Layout]]:
    """The file and its layout; what HDF5 raises on damage becomes Malformed."""
    import h5py

    try:
        with h5py.File(stream_of(source).file, "r") as file:
            yield file, _layout(file)
    except _RAISED as error:
        raise Malformed(f"cannot be read as HDF5: {type(error).__name__}: {str(error)[:120]}") from error


def _layout(file: h5py.File) -> Layout:
    layouts: list[Layout] = [import_module(f"spikeloom.runtime.events.{name}").LAYOUT for name in _LAYOUTS]
    for layout in layouts:
        if layout.matches(file):
            return layout
    wanted = ", ".join(layout.title for layout in layouts)
    raise Malformed("the layout is not known", wanted, "groups " + ", ".join(list(file)[:10]))


FORMAT = Format(
    "hdf5",
    (".h5", ".hdf5"),
    decode,
    title="HDF5",
    header=header,
    seeks=True,
    items=items,
    decode_item=decode_item,
)
