"""N-MNIST and N-Caltech101 recordings: records of 40 bits without a header (``.bin``, ``.bs2``).

A record is x (byte 0), y (byte 1), and big-endian in bytes 2 to 4 the polarity (bit 23, 1 = on) and the
time in microseconds (bits 22 to 0); see Orchard et al., «Converting Static Image Datasets to Spiking
Neuromorphic Datasets Using Saccades», Frontiers in Neuroscience 9:437, 2015. Some readers take y = 240 as
a mark that moves time on by 2^13 us; the format names no such mark, so here it is a pixel like any other,
and one outside every sensor of these data sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spikeloom.atomic import write_bytes
from spikeloom.errors import InputError
from spikeloom.runtime.events.limits import beyond_limits
from spikeloom.runtime.events.stream import EVENT, Chunk, Events, Format, Geometry, Source

RECORD_BYTES = 5
MAX_COORDINATE = 255
MAX_TIME_US = 2**23 - 1
LIMITS = {"t": MAX_TIME_US, "x": MAX_COORDINATE, "y": MAX_COORDINATE, "p": 1}


def decode(file: Source, chunk_events: int) -> Iterator[Chunk]:
    """The chunks of an N-MNIST stream, each of at most ``chunk_events`` events.

    >>> import io
    >>> [chunk] = decode(io.BytesIO(bytes([3, 4, 0x80, 1, 0, 99])), chunk_events=10)
    >>> chunk.events.tolist(), chunk.left_over_bytes
    ([(256, 3, 4, 1)], 1)
    """
    offset = 0
    while data := file.read(RECORD_BYTES * chunk_events):
        whole, left_over = divmod(len(data), RECORD_BYTES)
        yield Chunk(_events(data[: whole * RECORD_BYTES]), offset, left_over)
        offset += len(data)


def write_nmnist(path: Path | str, events: Events) -> None:
    """Write events [n] of dtype :data:`EVENT` as an N-MNIST recording, whole or not at all.

    Raises:
        InputError: SL0107, an event that 8-bit coordinates, 23-bit times or one bit of polarity cannot
            hold; SL0902, the path cannot be written.
    """
    if problems := beyond_limits(Path(path), events, LIMITS, "N-MNIST"):
        raise InputError(problems)
    records = np.empty((len(events), RECORD_BYTES), np.uint8)
    time = events["t"].astype(np.uint32)
    records[:, 0] = events["x"]
    records[:, 1] = events["y"]
    records[:, 2] = (events["p"] << 7) | (time >> 16)
    records[:, 3] = (time >> 8) & 0xFF
    records[:, 4] = time & 0xFF
    write_bytes(Path(path), records.tobytes())


def _events(data: bytes) -> Events:
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD_BYTES)
    time = (records[:, 2] & 0x7F).astype(np.int64)
    for column in (3, 4):
        time <<= 8
        time |= records[:, column]
    events = np.empty(len(records), EVENT)
    events["t"] = time
    events["x"] = records[:, 0]
    events["y"] = records[:, 1]
    events["p"] = records[:, 2] >> 7
    return events


FORMAT = Format("nmnist", (".bs2", ".bin"), decode, RECORD_BYTES, title="N-MNIST", widest=Geometry(256, 256))
