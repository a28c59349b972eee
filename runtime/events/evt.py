"""What Prophesee's three raw encodings share: their header, and reading by blocks of words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.source import ByteStream, stream_of
from spikeloom.runtime.events.stream import (
    EVENT,
    Chunk,
    Decoder,
    Events,
    Format,
    Geometry,
    Header,
    Malformed,
    Source,
    by_chunks,
)
from spikeloom.runtime.events.text_header import evt_version, geometry_of, key_values, read_lines

_SHOWN = ("date", "sensor_name", "system_id", "serial_number", "camera_integrator_name", "integrator_name")

State: TypeAlias = NDArray[np.int64]
"""What a decoder carries from block to block; [0] and [1] count unplaced events and unknown words."""

UNPLACED, UNKNOWN = 0, 1
NO_TIME = -1
Kernel: TypeAlias = Callable[[NDArray[Any], Events, State], int]
"""``kernel(words, out, state)`` writes the events of the words to ``out`` and returns their number."""


@numba.njit(cache=True)
def advanced(high: np.int64, seen: np.int64, now: np.int64, bits: int) -> np.int64:
    """The upper part of the time when its lowest ``bits``, ``seen`` the last time, are ``now``.

    It moves the shorter way round the clock, so that a single damaged word moves it for itself only. Before
    the first time, ``seen`` is :data:`NO_TIME`.
    """
    if seen == NO_TIME:
        return now
    half = 1 << (bits - 1)
    return high + ((now - seen + half) & (2 * half - 1)) - half


def read_header(stream: ByteStream, version: str) -> Header:
    """The header of a raw file of this version.

    Raises:
        Malformed: there is none, or it names another version or no possible sensor.
    """
    lines = read_lines(stream, b"% ", ("end",))
    got = evt_version(b"".join(b"% " + line.encode("latin-1") + b"\n" for line in lines))
    if got != version:
        raise Malformed("the header names another encoding", f"evt {version}", got and f"evt {got}")
    values = key_values(lines)
    facts = {key: values[key] for key in _SHOWN if values.get(key)}
    return Header(geometry_of(values), facts)


def raw_format(version: str, decode: Decoder, widest: Geometry) -> Format:
    """The format of raw files of one version, 2.0, 2.1 or 3.0."""

    def header(source: Source) -> Header:
        return read_header(stream_of(source), version)

    def matches(head: bytes) -> bool:
        return evt_version(head) == version

    return Format(
        "evt" + version.removesuffix(".0").replace(".", ""),
        (".raw",),
        decode,
        title=f"Prophesee EVT {version}",
        matches=matches,
        header=header,
        widest=widest,
    )


def decode_words(
    source: Source, version: str, word: np.dtype[Any], most: int, kernel: Kernel, state: State, chunk: int
) -> Iterator[Chunk]:
    """The chunks of a raw file whose words hold up to ``most`` events each."""
    stream = stream_of(source)
    read_header(stream, version)
    block = max(1, min(chunk, 1 << 16))
    while data := stream.read(block * word.itemsize):
        offset = stream.position - len(data)
        whole, left_over = divmod(len(data), word.itemsize)
        words = np.frombuffer(data, word, whole)
        events = np.empty(whole * most, EVENT)
        state[:2] = 0
        count = kernel(words, events, state)
        found = Chunk(events[:count], offset, left_over, int(state[UNPLACED]), int(state[UNKNOWN]))
        yield from by_chunks(found, chunk)
