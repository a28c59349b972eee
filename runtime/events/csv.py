"""Text (``.csv``): an event a line.

A line that names columns says which are t, x, y and p; without one they are t, x, y, p in this order.
Columns are separated by commas, semicolons, tabs or spaces, lines of comment begin with «#», and a first line
of two whole numbers is the sensor's width and height. Times are microseconds, or seconds where the first
event's time has a decimal point. A polarity of -1 is off. Lines that are no event are counted as unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.source import ByteStream, stream_of
from spikeloom.runtime.events.stream import (
    EVENT,
    MAX_SIDE,
    Chunk,
    Format,
    Geometry,
    Header,
    Malformed,
    Source,
)
from spikeloom.runtime.events.table import find_columns, seconds_to_us, to_events

_BLOCK = 1 << 18
_LONGEST_LINE = 256
_FEWEST = 4
_ORDER = {"t": 0, "x": 1, "y": 2, "p": 3}
_SEPARATORS = bytes.maketrans(b",;\t", b"   ")


class _Layout(NamedTuple):
    """Which column holds what, and the unit of the times."""

    geometry: Geometry | None
    columns: dict[str, int]
    seconds: bool


def header(source: Source) -> Header:
    """The sensor, where a first line names it.

    Raises:
        Malformed: the first lines are no text of events.
    """
    layout = _read_layout(stream_of(source))
    return Header(layout.geometry, {"times": "seconds" if layout.seconds else "microseconds"})


def decode(source: Source, chunk_events: int) -> Iterator[Chunk]:
    r"""The chunks of a text of events, each of at most ``chunk_events`` events.

    >>> import io
    >>> [chunk] = decode(io.BytesIO(b"x,y,p,t\n3,4,1,7\n3,4,-1,8\noops\n"), chunk_events=10)
    >>> chunk.events.tolist(), chunk.unknown
    ([(7, 3, 4, 1), (8, 3, 4, 0)], 1)
    """
    stream = stream_of(source)
    layout = _read_layout(stream)
    while data := stream.read(_BLOCK):
        offset = stream.position - len(data)
        end = data.rfind(b"\n") + 1
        if len(data) == _BLOCK and end:
            stream.push_back(data[end:])
            data = data[:end]
        yield from _events(data, layout, offset, chunk_events)


def _events(data: bytes, layout: _Layout, offset: int, chunk_events: int) -> Iterator[Chunk]:
    found = [line for line in data.translate(_SEPARATORS).split(b"\n") if _holds_something(line)]
    lines = [line for line in found if len(line) <= _LONGEST_LINE]
    if len(lines) < len(found):
        yield Chunk(np.zeros(0, EVENT), offset, unknown=len(found) - len(lines))
    for start in range(0, len(lines), chunk_events):
        rows, bad = _numbers(lines[start : start + chunk_events], layout)
        columns = {field: rows[:, column] for field, column in layout.columns.items()}
        if layout.seconds:
            columns["t"] = seconds_to_us(columns["t"])
        events, broken = to_events(columns)
        yield Chunk(events, offset, unknown=bad + broken)


def _holds_something(line: bytes) -> bool:
    text = line.strip()
    return bool(text) and not text.startswith(b"#")


def _numbers(lines: list[bytes], layout: _Layout) -> tuple[NDArray[np.float64], int]:
    """The lines as rows of numbers, and how many of them are none."""
    width = max(layout.columns.values()) + 1
    try:
        rows = np.array([line.split() for line in lines], np.bytes_).astype(np.float64)
        if rows.ndim == 2 and rows.shape[1] >= width and not any(b"\0" in line for line in lines):
            return rows, 0  # NumPy passes over zero bytes, the slow way does not
    except ValueError:  # rows of different lengths, or something else than numbers
        pass
    parsed = [row for line in lines if len(row := _row(line)) >= width]
    rows = np.array([row[:width] for row in parsed], np.float64).reshape(-1, width)
    return rows, len(lines) - len(parsed)


def _row(line: bytes) -> list[float]:
    try:
        return [float(part) for part in line.split()]
    except ValueError:
        return []


def _read_layout(stream: ByteStream) -> _Layout:
    """Read what comes before the first event, which is left to be read."""
    geometry, columns = None, _ORDER
    while line := _line(stream):
        words = line.translate(_SEPARATORS).split()
        numbers = _row(b" ".join(words))
        if not _holds_something(line):
            stream.read(len(line))
        elif len(numbers) == 2 and geometry is None and columns is _ORDER:
            geometry = _geometry(words)
            stream.read(len(line))
        elif len(numbers) >= _FEWEST:
            return _Layout(
                geometry, columns, b"." in words[columns["t"]] if columns["t"] < len(words) else False
            )
        elif columns is _ORDER and not numbers:
            names = [word.decode("latin-1") for word in words]
            columns = {field: names.index(name) for field, name in find_columns(names).items()}
            stream.read(len(line))
        else:
            raise Malformed("the first lines are no events", "t, x, y, p", repr(line[:60]))
    return _Layout(geometry, columns, seconds=False)


def _line(stream: ByteStream) -> bytes:
    head = stream.peek(_LONGEST_LINE)
    line, newline, _ = head.partition(b"\n")
    if not newline and len(head) == _LONGEST_LINE:
        raise Malformed("a line is too long", f"at most {_LONGEST_LINE:,} bytes")
    return line + newline


def _geometry(words: list[bytes]) -> Geometry:
    if all(word.isdigit() and 0 < int(word[:9]) <= MAX_SIDE for word in words):
        return Geometry(int(words[0]), int(words[1]))
    raise Malformed("names no sensor", "width and height", repr(b" ".join(words)))


FORMAT = Format("csv", (".csv",), decode, title="text, an event a line", header=header)
