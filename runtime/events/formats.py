"""The registry of event file formats, and the one way to open a recording."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from stat import S_ISREG

from spikeloom.errors import InputError
from spikeloom.runtime.events.check import Check, leniently, strictly
from spikeloom.runtime.events.stream import DropReport, Events, Format, Geometry

CHUNK_EVENTS = 65536

# suffix -> the module beside this one whose FORMAT reads it; imported when first needed
_READERS = {
    ".bin": "nmnist",
    ".bs2": "nmnist",
}


def suffixes() -> tuple[str, ...]:
    """The suffixes of all event files that can be read.

    >>> ".bs2" in suffixes()
    True
    """
    return tuple(sorted(_READERS))


def format_of(path: Path | str) -> Format:
    """The format that claims the suffix of ``path``.

    Raises:
        InputError: SL0106, no format does.

    >>> format_of("recordings/7.BS2").name
    'nmnist'
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _READERS:
        raise InputError.of(
            "SL0106",
            path,
            "is not a kind of event file known here",
            wanted="a name ending in " + ", ".join(suffixes()),
            got=suffix or "no suffix",
        )
    reader: Format = import_module(f"spikeloom.runtime.events.{_READERS[suffix]}").FORMAT
    return reader


class EventFile:
    """A recording on disk; each iteration reads it anew, in chunks of checked events.

    Attributes:
        path: the file.
        geometry: the sensor that every event lies on.
        report: what the latest iteration has dropped so far.
    """

    def __init__(
        self, path: Path, reader: Format, geometry: Geometry, strict: bool, chunk_events: int
    ) -> None:
        """Use :func:`open_events`."""
        self.path = path
        self.geometry = geometry
        self._reader = reader
        self._strict = strict
        self._chunk_events = chunk_events
        self._check = Check(geometry, reader.record_bytes)

    @property
    def report(self) -> DropReport:
        """What the latest iteration has dropped so far."""
        return self._check.report

    def __iter__(self) -> Iterator[Events]:
        """Chunks of at most ``chunk_events`` events of dtype EVENT, none empty, times never falling."""
        self._check = check = Check(self.geometry, self._reader.record_bytes)
        try:
            with self.path.open("rb") as file:
                chunks = self._reader.decode(file, self._chunk_events)
                yield from strictly(chunks, check, self.path) if self._strict else leniently(chunks, check)
        except OSError as error:
            raise _unreadable(self.path, error.strerror or str(error)) from error


def open_events(
    path: Path | str, geometry: Geometry, strict: bool = True, chunk_events: int = CHUNK_EVENTS
) -> EventFile:
    """Open a recording for reading in chunks of at most ``chunk_events`` events, in constant memory.

    With ``strict`` a recording with any fault is refused: iterating raises once the file is read, with
    all its faults at once, and no events after the first fault are given out. Without, faulty events
    are dropped and counted in ``report``; an empty or truncated file gives what is whole.

    Raises:
        InputError: SL0101, the file is missing or cannot be read; SL0106, its format is not known;
            while iterating and strict: SL0102 empty, SL0103 truncated, SL0104 events outside the
            sensor, SL0105 times running backwards.

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
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise _unreadable(path, getattr(error, "strerror", "") or str(error)) from error
    if not S_ISREG(kind):
        raise _unreadable(path, "is not a regular file")
    return EventFile(path, format_of(path), geometry, strict, chunk_events)


def _unreadable(path: Path, what: str) -> InputError:
    return InputError.of("SL0101", path, what, remedy="check the path and its permissions")
