"""AEDAT 4.0 (``.aedat4``) of DV: compressed packets that are FlatBuffers.

Source: inivation's documentation, «AEDAT 4.0», and the schemas of dv-processing. After «#!AER-DAT4.0» and a
line break comes a FlatBuffer with its size before it, the header (IOHE): the compression, the place of a
table at the end of the file, and a description of the streams in XML. Each packet is the number of its
stream and its size (32 bits each) and a compressed FlatBuffer with its size; in streams of type EVTS it is a
vector of events of 16 bytes: the time in microseconds (64 bits), x and y (16 each) and whether it is on. The
first stream of events is read, other streams are passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from spikeloom.runtime.events.source import ByteStream, stream_of
from spikeloom.runtime.events.stream import (
    EVENT,
    MAX_SIDE,
    Chunk,
    Events,
    Format,
    Geometry,
    Header,
    Malformed,
    Source,
    by_chunks,
)

MAGIC = b"#!AER-DAT4.0\r\n"
RECORD = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "u1"), ("pad", "V3")])
_COMPRESSIONS = {0: "", 1: "lz4", 2: "lz4", 3: "zstd", 4: "zstd"}
_LONGEST_HEADER = 1 << 20
_BIGGEST_PACKET = 1 << 26


class Damaged(Exception):  # noqa: N818 - never leaves this module
    """A FlatBuffer points outside of itself, or a packet cannot be decompressed."""


class _Streams(NamedTuple):
    """What the header says: the streams of events, how packets are compressed, and where they end."""

    header: Header
    numbers: list[int]
    compression: str
    end: int


@dataclass(frozen=True)
class _Table:
    """A table of a FlatBuffer, each access to which is checked to lie inside."""

    data: bytes
    place: int

    def field(self, index: int) -> int:
        """The place of a field, or 0 where the table has none."""
        vtable = self.place - _number(self.data, self.place, "<i")
        entry = 4 + 2 * index
        if entry >= _number(self.data, vtable, "<H"):
            return 0
        offset = _number(self.data, vtable + entry, "<H")
        return self.place + offset if offset else 0

    def vector(self, index: int) -> tuple[int, int]:
        """Where the elements of a vector or text begin, and their number."""
        place = self.field(index)
        if not place:
            return 0, 0
        start = place + _number(self.data, place, "<I")
        return start + 4, _number(self.data, start, "<I")


def header(source: Source) -> Header:
    """The header of an AEDAT 4.0 file.

    Raises:
        Malformed: it is none, is damaged, or describes no stream of events.
    """
    return _read_header(stream_of(source)).header


def decode(source: Source, chunk_events: int) -> Iterator[Chunk]:
    """The chunks of an AEDAT 4.0 file, each of at most ``chunk_events`` events.

    Packets that cannot be decompressed or read are left over; where a packet cannot be as long as it
    says, so is all that follows.
    """
    stream = stream_of(source)
    streams = _read_header(stream)
    while not streams.end or stream.position < streams.end:
        offset = stream.position
        head = stream.read(8)
        if not head and not streams.end:
            return
        number, size = struct.unpack("<ii", head) if len(head) == 8 else (-1, -1)
        if number < 0 or not 0 < size <= _BIGGEST_PACKET:
            yield Chunk(np.zeros(0, EVENT), offset, max(1, len(head) + stream.drain()))
            return
        data = stream.read(size)
        if len(data) < size:
            yield Chunk(np.zeros(0, EVENT), offset, len(head) + len(data))
            return
        if number == streams.numbers[0]:
            yield from by_chunks(_packet(data, streams.compression, offset), chunk_events)


def _packet(data: bytes, compression: str, offset: int) -> Chunk:
    try:
        return Chunk(_events(_inflate(data, compression)), offset)
    except Damaged:
        return Chunk(np.zeros(0, EVENT), offset, 8 + len(data))


def _inflate(data: bytes, compression: str) -> bytes:
    if not compression:
        return data
    import pyarrow

    try:
        with pyarrow.CompressedInputStream(pyarrow.BufferReader(data), compression) as content:
            # unlike read, read_buffer keeps no memory where it raises
            inflated: bytes = content.read_buffer(_BIGGEST_PACKET + 1).to_pybytes()
    except (OSError, ValueError, EOFError) as error:  # pyarrow.ArrowInvalid is a ValueError
        raise Damaged from error
    if len(inflated) > _BIGGEST_PACKET:
        raise Damaged
    return inflated


def _events(buffer: bytes) -> Events:
    table = _root(buffer, b"EVTS")
    start, count = table.vector(0)
    if count * RECORD.itemsize > len(buffer) - start:
        raise Damaged
    records = np.frombuffer(buffer, RECORD, count, start)
    events = np.empty(count, EVENT)
    events["t"] = records["t"]
    for axis in "xy":
        events[axis] = np.where(records[axis] >= 0, records[axis], MAX_SIDE)
    events["p"] = records["on"]
    return events


def _root(buffer: bytes, identifier: bytes) -> _Table:
    """The root table of a FlatBuffer with its size before it."""
    if len(buffer) < 12 or buffer[8:12] != identifier or _number(buffer, 0, "<I") > len(buffer) - 4:
        raise Damaged
    return _Table(buffer, 4 + _number(buffer, 4, "<I"))


def _number(data: bytes, place: int, kind: str) -> int:
    if not 0 <= place <= len(data) - struct.calcsize(kind):
        raise Damaged
    [number] = struct.unpack_from(kind, data, place)
    return int(number)


def _read_header(stream: ByteStream) -> _Streams:
    if stream.read(len(MAGIC)) != MAGIC:
        raise Malformed("is no AEDAT 4.0", MAGIC.decode().strip())
    size = stream.read(4)
    length = int.from_bytes(size, "little")
    data = stream.read(length) if length <= _LONGEST_HEADER else b""
    if len(size) < 4 or not length or len(data) < length:
        raise Malformed("the header is cut off", f"{length:,} bytes, at most {_LONGEST_HEADER:,}")
    try:
        table = _root(size + data, b"IOHE")
        kind = _number(table.data, place, "<i") if (place := table.field(0)) else 0
        end = _number(table.data, place, "<q") if (place := table.field(1)) else -1
        start, count = table.vector(2)
        text = table.data[start : start + count]
    except Damaged as error:
        raise Malformed("the header is damaged") from error
    if kind not in _COMPRESSIONS:
        raise Malformed("the compression is not known", "none, LZ4 or Zstandard", f"number {kind}")
    return _streams(text, _COMPRESSIONS[kind], max(0, end))


def _streams(text: bytes, compression: str, end: int) -> _Streams:
    """The streams of events that the XML describes, and the sensor of the first."""
    if b"<!" in text:
        raise Malformed("the description of the streams holds declarations")
    try:
        nodes = list(ElementTree.fromstring(text).iter("node"))
    except (ElementTree.ParseError, ValueError) as error:  # ValueError: an encoding that is not known
        raise Malformed(f"the description of the streams is no XML: {error}") from error
    found = {}
    for node in nodes:
        name = node.get("name", "")
        if name.isascii() and name.isdigit() and _attribute(node, "typeIdentifier") == "EVTS":
            found[int(name)] = node
    if not found:
        raise Malformed("there is no stream of events", "a stream of type EVTS")
    numbers = sorted(found)
    facts = {"compression": compression or "none", "event streams": str(len(numbers))}
    chip = next(
        (value for node in found[numbers[0]].iter("node") if (value := _attribute(node, "source"))), ""
    )
    return _Streams(
        Header(_geometry(found[numbers[0]]), facts | ({"chip": chip} if chip else {})),
        numbers,
        compression,
        end,
    )


def _geometry(stream: ElementTree.Element) -> Geometry | None:
    for node in stream.iter("node"):
        width, height = _attribute(node, "sizeX"), _attribute(node, "sizeY")
        if (
            width.isdigit()
            and height.isdigit()
            and 0 < int(width[:9]) <= MAX_SIDE
            and 0 < int(height[:9]) <= MAX_SIDE
        ):
            return Geometry(int(width), int(height))
    return None


def _attribute(node: ElementTree.Element, key: str) -> str:
    """The value of a child «attr» of that key."""
    values = (child.text or "" for child in node.findall("attr") if child.get("key") == key)
    return next(values, "").strip()


FORMAT = Format("aedat4", (".aedat4",), decode, title="AEDAT 4.0", header=header)
