"""AEDAT 3.1 (``.aedat``) of cAER: packets of events after lines «#...».

Source: inivation's documentation, «AEDAT 3.1». The header ends with «#!END-HEADER». A packet begins with 28
little-endian bytes: type (16 bits), source (16), the size of an event, the place of its time, the upper part
of the times, capacity, number and valid number of events (32 each). Events of type 1 are changes of contrast:
a word with a mark that it is valid (bit 0), polarity (1), y (2-16) and x (17-31), and the lower 31 bits of
the time. Packets of other types are passed over. Events that are marked invalid are counted as unplaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from spikeloom.runtime.events.source import ByteStream, stream_of
from spikeloom.runtime.events.stream import EVENT, Chunk, Format, Geometry, Header, Malformed, Source
from spikeloom.runtime.events.text_header import read_lines

MAGIC = b"#!AER-DAT3.1"
PACKET = np.dtype(
    [
        ("type", "<i2"),
        ("source", "<i2"),
        *((name, "<i4") for name in ["size", "offset", "over", "cap", "n", "ok"]),
    ]
)
RECORD = np.dtype([("data", "<u4"), ("t", "<u4")])
_POLARITY = 1
_BIGGEST_PACKET = 1 << 28
_SENSORS = {
    "dvs128": Geometry(128, 128),
    "davis240a": Geometry(240, 180),
    "davis240b": Geometry(240, 180),
    "davis240c": Geometry(240, 180),
    "davis346": Geometry(346, 260),
    "davis346b": Geometry(346, 260),
    "davis346c": Geometry(346, 260),
    "davis640": Geometry(640, 480),
    "dvxplorer": Geometry(640, 480),
}


class _Packet(NamedTuple):
    """What a packet's header says, and whether that can be."""

    kind: int
    size: int
    events: int
    time_base: int
    sound: bool


def header(source: Source) -> Header:
    """The header of an AEDAT 3.1 file.

    Raises:
        Malformed: it is none, does not end, or says that the packets are compressed.
    """
    stream = stream_of(source)
    if stream.peek(len(MAGIC)) != MAGIC:
        raise Malformed("is no AEDAT 3.1", MAGIC.decode(), repr(stream.peek(len(MAGIC))))
    lines = read_lines(stream, b"#", ("!END-HEADER",))
    if "!END-HEADER" not in lines:
        raise Malformed("the header does not end", "#!END-HEADER")
    values = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    coding = values.get("format", "RAW")
    if coding != "RAW":
        raise Malformed("the packets are compressed", "#Format: RAW", coding, "save the recording as RAW")
    sensor = next((value for key, value in values.items() if key.startswith("source")), "")
    return Header(_SENSORS.get(sensor.lower()), {"chip": sensor} if sensor else {})


def decode(source: Source, chunk_events: int) -> Iterator[Chunk]:
    r"""The chunks of an AEDAT 3.1 file, each of at most ``chunk_events`` events.

    Where a packet cannot be what it says, the packets after it cannot be found: all bytes from there on
    are left over.

    >>> import io, struct
    >>> packet = struct.pack("<hhiiiiiiIi", 1, 0, 8, 4, 0, 1, 1, 1, 7 << 17 | 5 << 2 | 3, 99)
    >>> [chunk] = decode(io.BytesIO(b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + packet), chunk_events=10)
    >>> chunk.events.tolist()
    [(99, 7, 5, 1)]
    """
    stream = stream_of(source)
    header(stream)
    while head := stream.read(PACKET.itemsize):
        packet = _packet(head)
        if not packet.sound:
            yield Chunk(np.zeros(0, EVENT), stream.position - len(head), len(head) + stream.drain())
            return
        if packet.kind == _POLARITY:
            yield from _events(stream, packet, chunk_events)
        elif missing := _pass_over(stream, packet.size * packet.events):
            yield Chunk(np.zeros(0, EVENT), stream.position, missing)


def _packet(head: bytes) -> _Packet:
    if len(head) < PACKET.itemsize:
        return _Packet(0, 0, 0, 0, sound=False)
    [fields] = np.frombuffer(head, PACKET)
    kind, _, size, offset, over, capacity, count, valid = fields.tolist()
    sound = 0 <= valid <= count <= capacity and size > 0 and over >= 0 and size * count <= _BIGGEST_PACKET
    if kind == _POLARITY:
        sound = sound and (size, offset) == (RECORD.itemsize, 4)
    return _Packet(kind, size, count, over << 31, sound)


def _events(stream: ByteStream, packet: _Packet, chunk_events: int) -> Iterator[Chunk]:
    missing = packet.events
    while missing:
        wanted = min(missing, chunk_events)
        data = stream.read(wanted * RECORD.itemsize)
        whole, left_over = divmod(len(data), RECORD.itemsize)
        records = np.frombuffer(data, RECORD, whole)
        word = records["data"]
        valid = (word & 1) == 1
        events = np.empty(whole, EVENT)
        events["t"] = records["t"].astype(np.int64) + packet.time_base
        events["x"] = word >> 17
        events["y"] = (word >> 2) & 0x7FFF
        events["p"] = (word >> 1) & 1
        offset = stream.position - len(data)
        cut = whole < wanted  # the file ends inside the packet; its header is left over if nothing else is
        lost = left_over or (PACKET.itemsize if cut else 0)
        yield Chunk(events[valid], offset, lost, int((~valid).sum()))
        if cut:
            return
        missing -= whole


def _pass_over(stream: ByteStream, size: int) -> int:
    """Read past a packet's events; how many bytes there were if the file ended first, else 0."""
    missing = size
    while missing:
        data = stream.read(min(missing, 1 << 16))
        missing -= len(data)
        if not data:
            return PACKET.itemsize + size - missing
    return 0


def _matches(head: bytes) -> bool:
    return head.startswith(MAGIC)


FORMAT = Format(
    "aedat3",
    (".aedat",),
    decode,
    title="AEDAT 3.1",
    matches=_matches,
    header=header,
    widest=Geometry(1 << 15, 1 << 15),
)
