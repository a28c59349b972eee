"""Prophesee EVT 2.1 (``.raw``): words of 64 bits, up to 32 events of a row each.

Source: docs.prophesee.ai, «EVT 2.1 Format». Bits 63-60 of a word are its type: 0 and 1 OFF and ON events
with the time's low 6 bits (59-54), x of the first of 32 pixels (53-43), y (42-32) and a bit for each pixel
that fired (31-0); 8 the time's high 28 bits (59-32). Words are little-endian; a header with
«endianness=legacy» says that the upper half of each word comes first (IMX636).
"""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.evt import NO_TIME, State, advanced, decode_words, raw_format
from spikeloom.runtime.events.source import stream_of
from spikeloom.runtime.events.stream import Chunk, Events, Geometry, Source

WORD = np.dtype("<u8")
_MOST = 32


def decode(source: Source, chunk_events: int) -> Iterator[Chunk]:
    r"""The chunks of an EVT 2.1 file, each of at most ``chunk_events`` events.

    >>> import io
    >>> words = np.array([8 << 60 | 1 << 32, 1 << 60 | 5 << 54 | 64 << 43 | 7 << 32 | 0b101], "<u8")
    >>> [chunk] = decode(io.BytesIO(b"% evt 2.1\n" + words.tobytes()), chunk_events=10)
    >>> chunk.events.tolist()
    [(69, 64, 7, 1), (69, 66, 7, 1)]
    """
    stream = stream_of(source)
    legacy = b"endianness=legacy" in stream.peek(4096).partition(b"% end")[0]
    state = np.array([0, 0, 0, NO_TIME, legacy], np.int64)
    yield from decode_words(stream, "2.1", WORD, _MOST, _decode, state, chunk_events)


@numba.njit(cache=True)
def _decode(words: NDArray[np.uint64], out: Events, state: State) -> int:
    unplaced, unknown, high, seen = state[0], state[1], state[2], state[3]
    swap = state[4] == 1
    count = 0
    for given in words:
        first, second = np.int64(given >> np.uint64(32)), np.int64(given & np.uint64(0xFFFFFFFF))
        upper, lower = (second, first) if swap else (first, second)
        kind = upper >> 28
        if kind <= 1:
            t = (high << 6) | ((upper >> 22) & 0x3F)
            x = (upper >> 11) & 0x7FF
            for bit in range(32):
                if not (lower >> bit) & 1:
                    continue
                if seen == NO_TIME:
                    unplaced += 1
                    continue
                event = out[count]
                event.t = t
                event.x = x + bit
                event.y = upper & 0x7FF
                event.p = kind
                count += 1
        elif kind == 8:
            now = upper & 0xFFFFFFF
            high, seen = advanced(high, seen, now, 28), now
        elif kind not in (10, 14, 15):
            unknown += 1
    state[0], state[1], state[2], state[3] = unplaced, unknown, high, seen
    return count


FORMAT = raw_format("2.1", decode, Geometry(2048 + 31, 2048))
