"""Random numbers inside compiled loops: the same on every machine."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

State = NDArray[np.uint64]


def state_of(seed: int) -> State:
    """Where a sequence begins."""
    return np.array([(seed * 2654435769 + 88172645463325252) % 2**64], np.uint64)


@njit(cache=True)
def next_number(state: State) -> int:  # pragma: no cover - compiled
    """The next number below 2^31 by xorshift64* (Vigna, ACM TOMS 42, 2016); changes the state."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return int((x * np.uint64(2685821657736338717)) >> np.uint64(33))
