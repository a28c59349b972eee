"""Which cores have room for more neurons, the widest gap first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

WIDEST = 60
"""So many gaps are looked at for a part of a tile."""

STALE = 512
"""So many gaps are sorted at a time."""


class Gaps:
    """Gaps that were not found too small or too full for something, in batches of the widest.

    A gap only ever narrows, so that a batch stays right until too few of it are as wide as the widest gap
    outside; then all are sorted anew.

    >>> gaps = Gaps()
    >>> list(gaps.widest(np.array([5, 0, 9, 7]), 1))
    [2, 3, 0]
    >>> gaps.close(2)
    >>> list(gaps.widest(np.array([5, 0, 9, 7]), 1))
    [3, 0]
    """

    def __init__(self) -> None:
        self._closed: set[int] = set()
        self._batch: list[int] = []
        self._below = 0
        self._cores = 0

    def close(self, core: int) -> None:
        """Never offer a core again."""
        self._closed.add(core)

    def widest(self, rooms: NDArray[np.int64], least: int) -> Iterator[int]:
        """Cores with more than ``least`` room, the widest gap first, at most :data:`WIDEST`.

        Args:
            rooms: [cores], neurons that fit each; none may be wider than at the call before, but there may
                be more cores.
            least: gaps of no more are left out.
        """
        if len(rooms) != self._cores or not self._batch_holds(rooms, least):
            self._sort(rooms, least)
        batch = [core for core in self._batch if core not in self._closed and rooms[core] > least]
        yield from sorted(batch, key=lambda core: (-rooms[core], core))[:WIDEST]

    def _batch_holds(self, rooms: NDArray[np.int64], least: int) -> bool:
        """Whether enough gaps of the batch are still as wide as all that are not in it."""
        bound = max(self._below, least)
        wide = sum(core not in self._closed and int(rooms[core]) >= bound for core in self._batch)
        return wide >= min(WIDEST, len(self._batch)) and bool(wide)

    def _sort(self, rooms: NDArray[np.int64], least: int) -> None:
        open_ones = rooms > least
        open_ones[list(self._closed)] = False
        wide = np.flatnonzero(open_ones)
        order = wide[np.argsort(-rooms[wide], kind="stable")]
        self._batch = order[:STALE].tolist()
        self._below = int(rooms[order[STALE]]) if len(order) > STALE else 0
        self._cores = len(rooms)
