"""Event Stream (``.es``): bytes of time increments, and five bytes an event.

Source: github.com/neuromorphicsystems/event_stream, versions 2.x, streams of type DVS. After «Event Stream»,
three bytes of version and the type 1 come the sensor's width and height in 16 bits. An event is a byte with
the increment of the time (bits 7-1) and the polarity (bit 0), then x and y in 16 bits; 0xFF moves the time by
127 us, and 0xFE is a reset that means nothing between events. Row 0 is the lowest of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.source import ByteStream, stream_of
from spikeloom.runtime.events.stream import EVENT, Chunk, Events, Format, Geometry, Header, Malformed, Source

MAGIC = b"Event Stream"
_TYPES = {0: "generic", 1: "dvs", 2: "atis", 3: "amd", 4: "color"}
_DVS = 1


def header(source: Source) -> Header:
    """The header of an Event Stream file.

    Raises:
        Malformed: it is none, of another version than 2, or holds another kind of stream.
    """
    stream = stream_of(source)
    head = stream.read(len(MAGIC) + 4)
    if len(head) < len(MAGIC) + 4 or not head.startswith(MAGIC):
        raise Malformed("is no Event Stream", repr(MAGIC), repr(head[: len(MAGIC)]))
    *version, kind = head[len(MAGIC) :]
    number = ".".join(map(str, version))
    if version[0] != 2:
        raise Malformed("the version is not read here", "2.x", number, "convert it to a later version")
    if kind != _DVS:
        got = _TYPES.get(kind, str(kind))
        raise Malformed("the stream holds no changes of contrast", "a stream of type dvs", got)
    return Header(_geometry(stream), {"version": number})


def decode(source: Source, chunk_events: int) -> Iterator[Chunk]:
    """The chunks of an Event Stream file, each of at most ``chunk_events`` events.

    >>> import io
    >>> head = b"Event Stream" + bytes([2, 0, 0, 1, 64, 0, 32, 0])
    >>> [chunk] = decode(io.BytesIO(head + bytes([0xFF, 7, 5, 0, 6, 0])), chunk_events=10)
    >>> chunk.events.tolist()
    [(130, 5, 6, 1)]
    """
    stream = stream_of(source)
    header(stream)
    time = 0
    while data := stream.read(5 * chunk_events):
        offset = stream.position - len(data)
        events = np.empty(len(data) // 5, EVENT)
        count, time, used = _decode(np.frombuffer(data, np.uint8), events, time)
        rest = data[used:]
        at_the_end = len(data) < 5 * chunk_events
        if not at_the_end:
            stream.push_back(rest)
        yield Chunk(events[:count], offset, len(rest) if at_the_end else 0)


def _geometry(stream: ByteStream) -> Geometry:
    size = stream.read(4)
    width, height = int.from_bytes(size[:2], "little"), int.from_bytes(size[2:], "little")
    if len(size) < 4 or not width or not height:
        raise Malformed("the header names no sensor", "width and height", f"{width}x{height}")
    return Geometry(width, height)


@numba.njit(cache=True)
def _decode(data: NDArray[np.uint8], out: Events, time: int) -> tuple[int, int, int]:
    """The number of events, the time reached, and the bytes used: a begun event is left."""
    count = place = 0
    while place < len(data):
        first = data[place]
        if first >= 0xFE:
            time += 127 if first == 0xFF else 0
            place += 1
            continue
        if place + 5 > len(data):
            break
        time += first >> 1
        event = out[count]
        event.t = time
        event.x = data[place + 1] | np.uint16(data[place + 2]) << 8
        event.y = data[place + 3] | np.uint16(data[place + 4]) << 8
        event.p = first & 1
        count += 1
        place += 5
    return count, time, place


FORMAT = Format("es", (".es",), decode, title="Event Stream", header=header)
