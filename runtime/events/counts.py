"""Frames that count: how many events each pixel and polarity had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.events.accumulator import cells_of, refill
from spikeloom.runtime.events.stream import Events


class Counts:
    """Counts the events of a frame uint8 [2, height, width], each pixel at most to ``limit``.

    Args:
        shape: of the frame.
        polarity: its channels.
        limit: the largest value of a pixel.
        reports: whether events beyond the limit count as lost, or were never to be counted.

    >>> from spikeloom.runtime.events.stream import EVENT
    >>> counts = Counts((2, 1, 2), ("off", "on"), limit=2, reports=True)
    >>> events = np.array([(3, 0, 0, 1), (4, 0, 0, 1), (5, 0, 0, 1), (6, 1, 0, 0)], EVENT)
    >>> counts.add(events, np.arange(4), np.zeros(4, np.int64))
    >>> frame, lost = counts.take()
    >>> frame.tolist(), lost
    ([[[0, 1]], [[2, 0]]], 1)
    """

    def __init__(self, shape: Sequence[int], polarity: Sequence[str], limit: int, reports: bool) -> None:
        self._polarity, self._limit, self._reports = polarity, limit, reports
        self._counts = np.zeros(shape, np.int64)
        self._empty = np.zeros(shape, np.uint8)
        self._empty.flags.writeable = False
        self._any = False

    def add(self, events: Events, places: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Count events; where they lie in the frame's time makes no difference."""
        self._any = True
        cells = cells_of(events, self._polarity, *self._counts.shape[1:])
        np.add.at(self._counts.reshape(-1), cells, 1)

    def take(self) -> tuple[NDArray[np.uint8], int]:
        """The frame, and how many events were beyond the limit, if that is to be reported."""
        if not self._any:
            return self._empty, 0
        lost = int(np.maximum(self._counts - self._limit, 0).sum()) if self._reports else 0
        frame = np.minimum(self._counts, self._limit).astype(np.uint8)
        self.clear()
        return frame, lost

    def clear(self) -> None:
        """Count from 0."""
        self._counts[:] = 0
        self._any = False

    def arrays(self) -> dict[str, Array]:
        """The counts so far."""
        return {"counts": self._counts.copy()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on counting from these."""
        refill(self._counts, arrays["counts"])
        self._any = bool(self._counts.any())
