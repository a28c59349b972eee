"""The registry of event file formats, and the one way to open a recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from stat import S_ISREG

from spikeloom.errors import InputError, Problem, counted
from spikeloom.runtime.events.check import Check, leniently, strictly
from spikeloom.runtime.events.source import (
    COMPRESSIONS,
    ByteStream,
    compression_of,
    decompressed,
    lost_bytes,
)
from spikeloom.runtime.events.stream import (
    Chunk,
    DropReport,
    Events,
    Format,
    Geometry,
    Header,
    Item,
    Malformed,
)

CHUNK_EVENTS = 65536
_HEAD = 4096

# suffix -> the modules beside this one whose FORMAT may read it; imported when first needed
_READERS = {
    ".aedat": ("aedat2", "aedat3"),
    ".aedat4": ("aedat4",),
    ".bin": ("nmnist",),
    ".bs2": ("nmnist",),
    ".csv": ("csv",),
    ".dat": ("dat",),
    ".es": ("es",),
    ".h5": ("hdf5",),
    ".hdf5": ("hdf5",),
    ".npz": ("npz",),
    ".raw": ("evt2", "evt21", "evt3"),
}


def suffixes() -> tuple[str, ...]:
    """The suffixes of all event files that can be read; each may be followed by .gz or .zst.

    >>> ".bs2" in suffixes()
    True
    """
    return tuple(sorted(_READERS))


def format_names() -> tuple[str, ...]:
    """The names of all formats.

    >>> "evt3" in format_names()
    True
    """
    return tuple(sorted({name for names in _READERS.values() for name in names}))


def format_named(name: str) -> Format | None:
    """The format of that name, or None."""
    return _format(name) if name in format_names() else None


def recording_suffix(path: Path | str) -> str:
    """The suffix that says the format, that of a compression left out.

    >>> recording_suffix("a/b.RAW.zst"), recording_suffix("b.gz")
    ('.raw', '')
    """
    path = Path(path)
    return Path(path.stem).suffix.lower() if compression_of(path) else path.suffix.lower()


def require_known(path: Path | str) -> None:
    """Refuse a file that no format claims by its suffix.

    Raises:
        InputError: SL0106, none does.
    """
    suffix = recording_suffix(path)
    if suffix not in _READERS:
        raise InputError.of(
            "SL0106",
            path,
            "is not a kind of event file known here",
            wanted="a name ending in " + ", ".join(suffixes()) + " (and " + " or ".join(COMPRESSIONS) + ")",
            got=suffix or "no suffix",
        )


def format_of(path: Path | str) -> Format:
    """The format of a file: by its suffix, and by its first bytes where several formats share that.

    Raises:
        InputError: SL0106, no format claims its suffix; SL0101, SL0108, its first bytes are needed and
            cannot be read, or are of no such format.

    >>> format_of("recordings/7.BS2").name
    'nmnist'
    """
    require_known(path)
    path = Path(path)
    candidates = [_format(name) for name in _READERS[recording_suffix(path)]]
    if len(candidates) == 1:
        return candidates[0]
    with _opened(path) as stream:
        head = stream.peek(_HEAD)
        for candidate in candidates:
            if candidate.matches(head):
                return candidate
        titles = " or ".join(candidate.title for candidate in candidates)
        raise Malformed("does not begin as any format of this suffix does", titles, repr(head[:24]))


class EventFile:
    """A recording on disk; each iteration reads it anew, in chunks of checked events.

    Attributes:
        path: the file.
        geometry: the sensor that every event lies on.
        header: what the file says of itself.
        report: what the latest iteration has dropped so far.
    """

    def __init__(
        self,
        path: Path,
        reader: Format,
        geometry: Geometry | None,
        strict: bool,
        chunk_events: int,
        item: int | None,
    ) -> None:
        """Use :func:`open_events`."""
        self.path = path
        self.header = read_header(path, reader)
        self.geometry = self._sensor(geometry, reader, strict)
        self._reader = reader
        self._strict = strict
        self._chunk_events = chunk_events
        self._item = item
        self._check = Check(self.geometry, reader.record_bytes)

    @property
    def report(self) -> DropReport:
        """What the latest iteration has dropped so far."""
        return self._check.report

    def __iter__(self) -> Iterator[Events]:
        """Chunks of at most ``chunk_events`` events of dtype EVENT, none empty, times never falling."""
        self._check = check = Check(self.geometry, self._reader.record_bytes)
        with _opened(self.path, self._reader) as stream:
            chunks = self._chunks(stream, check)
            yield from strictly(chunks, check, self.path) if self._strict else leniently(chunks, check)

    def _chunks(self, stream: ByteStream, check: Check) -> Iterator[Chunk]:
        if self._item is not None and self._reader.decode_item is not None:
            yield from self._reader.decode_item(stream, self._item, self._chunk_events)
        else:
            yield from self._reader.decode(stream, self._chunk_events)
        check.lost(lost_bytes(stream.file))

    def _sensor(self, wanted: Geometry | None, reader: Format, strict: bool) -> Geometry:
        """The sensor that both the user and the file name; each event must lie on both."""
        declared = self.header.geometry
        if wanted is None or declared is None:
            return wanted or declared or reader.widest
        if strict and (declared.width, declared.height) != (wanted.width, wanted.height):
            raise InputError.of(
                "SL0104",
                self.path,
                "was recorded by another sensor than the recipe's",
                wanted=wanted,
                got=f"{declared.width}×{declared.height} pixels in its header",
                remedy="name the right sensor in the recipe, or pass --no-strict to use what lies on both",
            )
        width, height = min(declared.width, wanted.width), min(declared.height, wanted.height)
        return Geometry(width, height, wanted.polarities)


def open_events(
    path: Path | str,
    geometry: Geometry | None = None,
    strict: bool = True,
    chunk_events: int = CHUNK_EVENTS,
    item: int | None = None,
) -> EventFile:
    """Open a recording for reading in chunks of at most ``chunk_events`` events, in constant memory.

    With ``strict`` a recording with any fault is refused: iterating raises once the file is read, with
    all its faults at once, and no events after the first fault are given out. Without, faulty events
    are dropped and counted in ``report``; an empty or truncated file gives what is whole.

    Args:
        path: the file; with .gz or .zst after its suffix it is decompressed as it is read.
        geometry: the sensor; by default what the header names, or else the largest that the format has.
        strict: refuse rather than drop and count.
        chunk_events: the most events a chunk.
        item: which recording of a file that holds several, from 0.

    Raises:
        InputError: SL0101, the file is missing or cannot be read; SL0106, its format is not known; SL0108,
            its header is malformed; strict: SL0104, its header names another sensor; while iterating
            SL0108, its structure is; and strict: SL0102 empty, SL0103 truncated, SL0104 events outside
            the sensor, SL0105 times running backwards, SL0108 unknown records, SL0109 times that jump.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.bin"
    ...     _ = path.write_bytes(bytes([3, 4, 0, 0, 7, 40, 4, 0, 0, 9]))
    ...     recording = open_events(path, Geometry(34, 34), strict=False)
    ...     [chunk.tolist() for chunk in recording], recording.report.outside
    ([[(7, 3, 4, 0)]], 1)
    """
    path = Path(path)
    if chunk_events < 1:
        raise ValueError(f"a chunk holds at least one event, not {chunk_events}")
    _require_file(path)
    return EventFile(path, format_of(path), geometry, strict, chunk_events, item)


def read_header(path: Path, reader: Format) -> Header:
    """What a file says of itself before its events.

    Raises:
        InputError: SL0101, it cannot be read; SL0108, its header is malformed.
    """
    with _opened(path, reader) as stream:
        return reader.header(stream)


def items_of(path: Path | str) -> list[Item]:
    """The recordings of a file that holds several; none of one that holds a single one.

    Raises:
        InputError: SL0101, SL0106, SL0108, as :func:`open_events`.
    """
    path = Path(path)
    _require_file(path)
    reader = format_of(path)
    if reader.decode_item is None:
        return []
    with _opened(path, reader) as stream:
        return reader.items(stream)


@contextmanager
def _opened(path: Path, reader: Format | None = None) -> Iterator[ByteStream]:
    """The content of a file; what cannot be read or understood becomes an InputError that names it."""
    compression = compression_of(path)
    if reader is not None and reader.seeks and compression:
        what = f"{reader.title} cannot be read while it is compressed as a whole"
        raise InputError.of("SL0106", path, what, remedy=f"decompress it ({compression}) first")
    try:
        with path.open("rb") as file:
            content = decompressed(file, compression)
            try:
                yield ByteStream(content)
            except Malformed as error:
                raise InputError(_problem(path, error, lost_bytes(content))) from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def _problem(path: Path, error: Malformed, lost: int) -> Problem:
    if lost:
        what = f"is damaged: {counted(lost, 'byte')} cannot be decompressed"
        return Problem("SL0103", str(path), what, remedy="copy the file again")
    return Problem("SL0108", str(path), error.what, error.wanted, error.got, error.remedy)


def _format(name: str) -> Format:
    reader: Format = import_module(f"spikeloom.runtime.events.{name}").FORMAT
    return reader


def _require_file(path: Path) -> None:
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise _unreadable(path, getattr(error, "strerror", "") or str(error)) from error
    if not S_ISREG(kind):
        raise _unreadable(path, "is not a regular file")


def _unreadable(path: Path, what: str) -> InputError:
    return InputError.of("SL0101", path, what, remedy="check the path and its permissions")
