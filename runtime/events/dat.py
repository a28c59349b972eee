"""Prophesee DAT (``.dat``): records of 64 bits after a text header.

Source: docs.prophesee.ai, «DAT File Format», and its `load_atis_data.m`. After lines «% ...» come a byte of
the event type (0 or 12: change of contrast) and a byte of the record's size, 8. A record is two little-endian
words: the time in microseconds, and x (bits 13-0), y (27-14) and polarity (31-28); in files of version 1 x is
in bits 8-0, y in 16-9, the polarity in 17. The clock wraps after 71.6 minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.clock import WrappingClock
from spikeloom.runtime.events.source import ByteStream, stream_of
from spikeloom.runtime.events.stream import EVENT, Chunk, Events, Format, Geometry, Header, Malformed, Source
from spikeloom.runtime.events.text_header import geometry_of, key_values, read_lines

RECORD = np.dtype([("t", "<u4"), ("address", "<u4")])
_CHANGE_TYPES = (0, 12)


def header(source: Source) -> Header:
    """The header of a DAT file, and the two bytes after it.

    Raises:
        Malformed: it is none, or the file holds something else than changes of contrast.
    """
    return _header(stream_of(source))[0]


def decode(source: Source, chunk_events: int) -> Iterator[Chunk]:
    r"""The chunks of a DAT file, each of at most ``chunk_events`` events.

    >>> import io
    >>> content = b"% Version 2\n" + bytes([0, 8]) + bytes([9, 0, 0, 0, 0x43, 0xC0, 8, 0x10])
    >>> [chunk] = decode(io.BytesIO(content), chunk_events=10)
    >>> chunk.events.tolist()
    [(9, 67, 35, 1)]
    """
    stream = stream_of(source)
    _, version = _header(stream)
    clock = WrappingClock()
    while data := stream.read(RECORD.itemsize * chunk_events):
        whole, left_over = divmod(len(data), RECORD.itemsize)
        records = np.frombuffer(data, RECORD, whole)
        yield Chunk(_events(records, version, clock), stream.position - len(data), left_over)


def _header(stream: ByteStream) -> tuple[Header, int]:
    values = key_values(read_lines(stream, b"%"))
    version = values.get("version", "2")
    if version not in ("1", "2"):
        raise Malformed("the version is not known", "1 or 2", version)
    kind = stream.read(2)
    if len(kind) < 2 or kind[0] not in _CHANGE_TYPES or kind[1] != RECORD.itemsize:
        raise Malformed(
            "the records are no changes of contrast", "type 0 or 12 of 8 bytes", f"bytes {list(kind)}"
        )
    facts = {key: values[key] for key in ("date", "version") if values.get(key)}
    return Header(geometry_of(values), facts), int(version)


def _events(records: NDArray[np.void], version: int, clock: WrappingClock) -> Events:
    address = records["address"]
    events = np.empty(len(records), EVENT)
    events["t"] = clock.unwrap(records["t"])
    if version == 1:
        events["x"] = address & 0x1FF
        events["y"] = (address >> 9) & 0xFF
        events["p"] = (address >> 17) & 1
    else:
        events["x"] = address & 0x3FFF
        events["y"] = (address >> 14) & 0x3FFF
        events["p"] = address >> 28
    return events


FORMAT = Format(
    "dat",
    (".dat",),
    decode,
    title="Prophesee DAT",
    header=header,
    widest=Geometry(1 << 14, 1 << 14),
)
