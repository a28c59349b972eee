"""Which boxes of one list overlap which of another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box

Indices = NDArray[np.int64]


def overlaps(a: Sequence[Box], b: Sequence[Box]) -> tuple[Indices, Indices, Indices]:
    """Pairs of boxes that share indices, and how many they share.

    The boxes of ``a`` are sorted along the axis that is cut most; for each box of ``b`` only those
    that may reach it there are looked at.

    >>> [part.tolist() for part in overlaps([Box(((0, 4),)), Box(((4, 8),))], [Box(((3, 6),))])]
    [[0, 1], [0, 0], [1, 2]]
    """
    if not a or not b:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty
    left, right = as_array(a, len(a[0].ranges)), as_array(b, len(b[0].ranges))
    axis = int(np.argmax([len(np.unique(left[:, i, 0])) for i in range(left.shape[1])]))
    order = np.argsort(left[:, axis, 0], kind="stable")
    found: NDArray[np.int64] = _join(left[order], right, axis)
    first = order[found[:, 0]]
    by_source = np.lexsort((found[:, 1], first))
    return first[by_source], found[by_source, 1], found[by_source, 2]


def as_array(boxes: Sequence[Box], axes: int) -> Indices:
    """[boxes, axes, 2]: where each begins and ends."""
    edges = chain.from_iterable(chain.from_iterable(box.ranges) for box in boxes)
    return np.fromiter(edges, np.int64, 2 * axes * len(boxes)).reshape(len(boxes), axes, 2)


@njit(cache=True)
def _join(left: Indices, right: Indices, axis: int) -> Indices:  # pragma: no cover - compiled
    starts = left[:, axis, 0].copy()
    longest = 0
    for i in range(len(left)):
        longest = max(longest, left[i, axis, 1] - left[i, axis, 0])
    capacity = 4 * (len(left) + len(right)) + 16
    found = np.empty((capacity, 3), np.int64)
    count = 0
    for j in range(len(right)):
        low = np.searchsorted(starts, right[j, axis, 0] - longest)
        high = np.searchsorted(starts, right[j, axis, 1])
        for i in range(low, high):
            shared = 1
            for k in range(left.shape[1]):
                lower = max(left[i, k, 0], right[j, k, 0])
                upper = min(left[i, k, 1], right[j, k, 1])
                shared *= max(upper - lower, 0)
                if shared == 0:
                    break
            if shared:
                if count == capacity:
                    capacity *= 2
                    grown = np.empty((capacity, 3), np.int64)
                    grown[:count] = found[:count]
                    found = grown
                found[count, 0], found[count, 1], found[count, 2] = i, j, shared
                count += 1
    return found[:count]
