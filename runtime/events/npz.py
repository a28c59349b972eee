"""NumPy archives (``.npz``): arrays t (microseconds), x, y and p, each [n], or one structured array of them.

Names such as «timestamps» and «polarity» are known too; a polarity of -1 is off. The arrays are read side by
side from the archive, a piece at a time. Nothing in a file is ever unpickled.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from spikeloom.atomic import replacing
from spikeloom.runtime.events.limits import require_writable_events
from spikeloom.runtime.events.source import stream_of
from spikeloom.runtime.events.stream import EVENT, Chunk, Events, Format, Geometry, Header, Malformed, Source
from spikeloom.runtime.events.table import find_columns, to_events

MAX_TIME_US = 2**62
_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)


class _Column:
    """An array in the archive, read a piece at a time."""

    def __init__(self, content: IO[bytes], name: str) -> None:
        self._content = content
        shape, _, self.dtype = _array_header(content, name)
        if len(shape) != 1 or self.dtype.hasobject or not self.dtype.itemsize:
            raise Malformed(f"array {name} is no list of numbers", "shape [n]", f"{list(shape)} {self.dtype}")
        self.length = int(shape[0])

    def read(self, count: int) -> NDArray[Any]:
        """The next ``count`` elements, or as many whole ones as can be read."""
        parts, missing = [], count * self.dtype.itemsize
        try:
            while missing and (part := self._content.read(missing)):
                parts.append(part)
                missing -= len(part)
        except _DAMAGE:
            pass  # what could not be read is missing
        data = b"".join(parts)
        return np.frombuffer(data, self.dtype, len(data) // self.dtype.itemsize)


def decode(source: Source, chunk_events: int) -> Iterator[Chunk]:
    """The chunks of an .npz file of events, each of at most ``chunk_events`` events.

    Raises:
        Malformed: it is no archive, or has no such arrays.
    """
    with ExitStack() as stack:
        columns = _columns(source, stack)
        lengths = {column.length for column in columns.values()}
        missing = min(lengths)
        surplus = max(lengths) - missing
        while missing:
            count = min(missing, chunk_events)
            pieces = {name: column.read(count) for name, column in columns.items()}
            whole = min(map(len, pieces.values()))
            events, bad = to_events(_fields({name: piece[:whole] for name, piece in pieces.items()}))
            cut = whole < count
            lost = (missing - whole) * sum(column.dtype.itemsize for column in columns.values()) if cut else 0
            yield Chunk(events, left_over_bytes=lost, unknown=bad)
            if cut:
                return
            missing -= whole
    if surplus:
        yield Chunk(np.zeros(0, EVENT), left_over_bytes=surplus)


def header(source: Source) -> Header:
    """The sensor, where the archive holds whole numbers «width» and «height», as :func:`write_npz` writes.

    Raises:
        Malformed: it is no archive of events.
    """
    with ExitStack() as stack:
        archive = _archive(source, stack)
        found = _columns(source, stack)
        length = min(column.length for column in found.values())
        return Header(_geometry(archive, stack), {"events": f"{length:,}"})


def holds_events(path: Path) -> bool:
    """Whether an .npz has arrays of the names that events have, rather than frames."""
    try:
        with zipfile.ZipFile(path) as archive:
            find_columns([name.removesuffix(".npy") for name in archive.namelist()])
    except (Malformed, *_DAMAGE):
        return False
    return True


def write_npz(path: Path | str, events: Events, geometry: Geometry) -> None:
    """Write events [n] of dtype EVENT, in order of time, as arrays t, x, y, p, and width and height.

    Raises:
        InputError: SL0107, events outside the sensor or times running backwards; SL0902, the path
            cannot be written.
    """
    path = Path(path)
    require_writable_events(path, events, geometry, MAX_TIME_US, "npz")
    arrays = {field: np.ascontiguousarray(events[field]) for field in ("t", "x", "y", "p")}
    with replacing(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, width=geometry.width, height=geometry.height, **arrays)


def _archive(source: Source, stack: ExitStack) -> zipfile.ZipFile:
    try:
        return stack.enter_context(zipfile.ZipFile(stream_of(source).file))
    except _DAMAGE as error:
        raise Malformed(f"is no .npz archive: {error}") from error


def _columns(source: Source, stack: ExitStack) -> dict[str, _Column]:
    archive = _archive(source, stack)
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    if len(names) == 1:
        table = _Column(_member(archive, names[0], stack), names[0])
        find_columns(list(table.dtype.names or ()))
        return {"table": table}
    chosen = find_columns(names)
    return {field: _Column(_member(archive, name, stack), name) for field, name in chosen.items()}


def _fields(pieces: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    if "table" not in pieces:
        return pieces
    table = pieces["table"]
    return {field: table[name] for field, name in find_columns(list(table.dtype.names or ())).items()}


def _member(archive: zipfile.ZipFile, name: str, stack: ExitStack) -> IO[bytes]:
    try:
        return stack.enter_context(archive.open(f"{name}.npy"))
    except (*_DAMAGE, KeyError) as error:
        raise Malformed(f"array {name} cannot be read: {error}") from error


def _array_header(content: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy.read_magic(content)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, order, dtype = read(content)
    except Exception as error:  # NumPy parses the header as Python and raises what that raises
        raise Malformed(f"array {name} cannot be read: {type(error).__name__}") from error
    return shape, order, dtype


def _geometry(archive: zipfile.ZipFile, stack: ExitStack) -> Geometry | None:
    sides = [_scalar(archive, name, stack) for name in ("width", "height")]
    try:
        return Geometry(*sides) if all(sides) else None
    except ValueError as error:
        raise Malformed("names no sensor", got=f"{sides[0]}x{sides[1]}") from error


def _scalar(archive: zipfile.ZipFile, name: str, stack: ExitStack) -> int:
    """The whole number of that name, 0 if there is none."""
    if f"{name}.npy" not in archive.namelist():
        return 0
    content = _member(archive, name, stack)
    shape, _, dtype = _array_header(content, name)
    try:
        data = content.read(dtype.itemsize) if shape == () and dtype.kind in "iu" else b""
    except _DAMAGE:
        data = b""
    return int(np.frombuffer(data, dtype)[0]) if data and len(data) == dtype.itemsize else 0


FORMAT = Format("npz", (".npz",), decode, title="NumPy archive", header=header, seeks=True)
