"""Prophesee EVT 3.0 (``.raw``): words of 16 bits that say only what changes.

Source: docs.prophesee.ai, «EVT 3.0 Format». Bits 15-12 of a little-endian word are its type: 0 the row, 2 an
event at x with polarity in bit 11, 3 the base x and polarity of vectors, 4 and 5 vectors of 12 and 8 pixels
from the base on, which they move; 6 and 8 the low and high 12 bits of the time. Words of triggers (10), of
vendors (14) and their continuations (7, 15) are no events. The clock of 24 bits wraps every 16.8 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

from spikeloom.atomic import write_bytes
from spikeloom.runtime.events.evt import NO_TIME, State, advanced, decode_words, raw_format
from spikeloom.runtime.events.limits import require_writable_events
from spikeloom.runtime.events.stream import MAX_SIDE, Chunk, Events, Geometry, Source

WORD = np.dtype("<u2")
MAX_TIME_US = 2**40 - 1
_UNKNOWN = -(1 << 40)  # still negative after any number of vectors in a block
_MOST = 12


def decode(source: Source, chunk_events: int) -> Iterator[Chunk]:
    r"""The chunks of an EVT 3.0 file, each of at most ``chunk_events`` events.

    >>> import io
    >>> words = np.array([0x8001, 0x6002, 0x0007, 0x2805, 0x3020, 0x5003], "<u2")
    >>> [chunk] = decode(io.BytesIO(b"% evt 3.0\n" + words.tobytes()), chunk_events=10)
    >>> chunk.events.tolist()
    [(4098, 5, 7, 1), (4098, 32, 7, 0), (4098, 33, 7, 0)]
    """
    state = np.array([0, 0, 0, NO_TIME, 0, _UNKNOWN, _UNKNOWN, 0], np.int64)
    yield from decode_words(source, "3.0", WORD, _MOST, _decode, state, chunk_events)


@numba.njit(cache=True)
def _write_vector(
    out: Events, count: int, t: np.int64, base: np.int64, y: np.int64, p: np.int64, bits: np.int64
) -> int:
    """Write an event for each bit; the number of events then."""
    for bit in range(_MOST):
        if (bits >> bit) & 1:
            event = out[count]
            event.t = t
            event.x = min(base + bit, MAX_SIDE)
            event.y = y
            event.p = p
            count += 1
    return count


@numba.njit(cache=True)
def _bits(value: np.int64) -> int:
    count = 0
    while value:
        count += int(value & 1)
        value >>= 1
    return count


@numba.njit(cache=True)
def _decode(words: NDArray[np.uint16], out: Events, state: State) -> int:
    unplaced, unknown = state[0], state[1]
    high, seen, low, y, base, p = state[2], state[3], state[4], state[5], state[6], state[7]
    count = 0
    for given in words:
        word = np.int64(given)
        kind, value = word >> 12, word & 0xFFF
        if kind == 2:
            if seen == NO_TIME or y < 0:
                unplaced += 1
                continue
            event = out[count]
            event.t = (high << 12) | low
            event.x = value & 0x7FF
            event.y = y
            event.p = value >> 11
            count += 1
        elif kind == 4 or kind == 5:
            if seen != NO_TIME and y >= 0 and base >= 0:
                count = _write_vector(out, count, (high << 12) | low, base, y, p, value)
            else:
                unplaced += _bits(value)
            base += 12 if kind == 4 else 8
        elif kind == 0:
            y = value & 0x7FF
        elif kind == 3:
            base, p = value & 0x7FF, value >> 11
        elif kind == 6:
            low = value
        elif kind == 8:
            if value != seen:
                high = advanced(high, seen, value, 12)
                low = 0  # the low bits of another 4 ms; the new ones follow
            seen = value
        elif kind not in (7, 10, 14, 15):
            unknown += 1
    state[0], state[1] = unplaced, unknown
    state[2], state[3], state[4], state[5], state[6], state[7] = high, seen, low, y, base, p
    return count


def write_evt3(path: Path | str, events: Events, geometry: Geometry) -> None:
    """Write events [n] of dtype EVENT, in order of time, as an EVT 3.0 recording, whole or not at all.

    A clock of 24 bits cannot hold later times; the file passes through each of its wraps, so that a reader
    that follows them gets the same times back. Only single events are written, no vectors.

    Raises:
        InputError: SL0107, an event that the sensor or 40 bits of time cannot hold, or times running
            backwards; SL0902, the path cannot be written.
    """
    most = Geometry(min(geometry.width, 2048), min(geometry.height, 2048))
    require_writable_events(Path(path), events, most, MAX_TIME_US, "EVT 3.0")
    head = f"% evt 3.0\n% format EVT3;height={geometry.height};width={geometry.width}\n"
    head += f"% geometry {geometry.width}x{geometry.height}\n% end\n"
    high = events["t"] >> 12
    wraps = int(high[-1]) // 2048 + 1 if len(events) else 0
    words = np.empty(4 * len(events) + wraps, WORD)
    count = _encode(events, words)
    write_bytes(Path(path), head.encode() + words[:count].tobytes())


@numba.njit(cache=True)
def _encode(events: Events, out: NDArray[np.uint16]) -> int:
    count = 0
    high, low, y = np.int64(-1), np.int64(-1), np.int64(-1)
    for event in events:
        now = np.int64(event.t >> 12)
        while now - max(high, np.int64(0)) >= 2048:  # a step that a reader still takes as forwards
            high = max(high, np.int64(0)) + 2047
            out[count] = 0x8000 | (high & 0xFFF)
            count += 1
        if now != high:
            high, low = now, np.int64(-1)
            out[count] = 0x8000 | (high & 0xFFF)
            count += 1
        if event.t & 0xFFF != low:
            low = np.int64(event.t & 0xFFF)
            out[count] = 0x6000 | low
            count += 1
        if event.y != y:
            y = np.int64(event.y)
            out[count] = y
            count += 1
        out[count] = 0x2000 | np.int64(event.p) << 11 | np.int64(event.x)
        count += 1
    return count


FORMAT = raw_format("3.0", decode, Geometry(2048, 2048))
