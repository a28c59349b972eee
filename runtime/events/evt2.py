"""Prophesee EVT 2.0 (``.raw``): words of 32 bits, one event each.

Source: docs.prophesee.ai, «EVT 2.0 Format». Bits 31-28 of a little-endian word are its type: 0 and 1 an OFF
and an ON event with the time's low 6 bits (27-22), x (21-11) and y (10-0); 8 the time's high 28 bits. Words
of triggers (10) and of vendors (14, 15) are no events. The clock of 34 bits wraps after 4 h 46 min.
"""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.evt import NO_TIME, State, advanced, decode_words, raw_format
from spikeloom.runtime.events.stream import Chunk, Events, Geometry, Source

WORD = np.dtype("<u4")


def decode(source: Source, chunk_events: int) -> Iterator[Chunk]:
    r"""The chunks of an EVT 2.0 file, each of at most ``chunk_events`` events.

    >>> import io
    >>> words = np.array([0x8000_0001, 0x1000_0000 | 5 << 22 | 3 << 11 | 4], "<u4")
    >>> [chunk] = decode(io.BytesIO(b"% evt 2.0\n" + words.tobytes()), chunk_events=10)
    >>> chunk.events.tolist()
    [(69, 3, 4, 1)]
    """
    state = np.array([0, 0, 0, NO_TIME], np.int64)
    yield from decode_words(source, "2.0", WORD, 1, _decode, state, chunk_events)


@numba.njit(cache=True)
def _decode(words: NDArray[np.uint32], out: Events, state: State) -> int:
    unplaced, unknown, high, seen = state[0], state[1], state[2], state[3]
    count = 0
    for word in words:
        kind = word >> 28
        if kind <= 1:
            if seen == NO_TIME:
                unplaced += 1
                continue
            event = out[count]
            event.t = (high << 6) | ((word >> 22) & 0x3F)
            event.x = (word >> 11) & 0x7FF
            event.y = word & 0x7FF
            event.p = kind
            count += 1
        elif kind == 8:
            now = np.int64(word & 0xFFFFFFF)
            high, seen = advanced(high, seen, now, 28), now
        elif kind not in (10, 14, 15):
            unknown += 1
    state[0], state[1], state[2], state[3] = unplaced, unknown, high, seen
    return count


FORMAT = raw_format("2.0", decode, Geometry(2048, 2048))
