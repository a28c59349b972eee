"""Clocks of 32 bits that wrap after 71.6 minutes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class WrappingClock:
    """Unwraps times of 32 bits: each is taken as the one nearest to the time before it.

    A single damaged time hence moves no other.

    >>> clock = WrappingClock()
    >>> clock.unwrap(np.array([4294967290, 4], np.uint32)).tolist(), clock.unwrap(np.array([9], np.uint32))
    ([4294967290, 4294967300], array([4294967305]))
    """

    def __init__(self) -> None:
        self._latest: int | None = None

    def unwrap(self, raw: NDArray[np.uint32]) -> NDArray[np.int64]:
        """The times [n] in microseconds of the next raw times [n]."""
        if not len(raw):
            return np.zeros(0, np.int64)
        first = int(raw[0])
        start = first if self._latest is None else self._latest + _signed(first - self._latest)
        steps = np.diff(raw).view(np.int32).astype(np.int64)
        times = start + np.concatenate([np.zeros(1, np.int64), np.cumsum(steps)])
        self._latest = int(times[-1])
        return times


def _signed(difference: int) -> int:
    """The number of 32 bits with a sign that equals the difference modulo 2^32."""
    return (difference + 2**31) % 2**32 - 2**31
