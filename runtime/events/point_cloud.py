"""Point clouds: a fixed number of events of each frame, as networks on points take them.

A frame of a camera may hold ten events or ten million. Every event gets a key that looks random, by its
place in the recording and a seed alone, and those with the smallest keys are taken, in order of time. So the
same events are drawn however the recording is cut into chunks, and no more than the points of a frame are
kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.events.stream import Events

HIGHEST = 255


class PointCloud:
    """Makes clouds uint8 [4, points]: rows x, y, t and p, each spread over 0 to 255.

    x and y are spread over the pixels, t over the frame's time, p over the polarities. A frame with fewer
    events repeats them in turn; one without any is all zeros.

    Args:
        width, height: of the pixels.
        length: of a frame in microseconds.
        points: events of a cloud.
        seed: of the drawing.

    >>> from spikeloom.runtime.events.stream import EVENT
    >>> cloud = PointCloud(256, 256, length=256, points=3, seed=0)
    >>> cloud.add(np.array([(9, 7, 9, 1), (137, 1, 2, 0)], EVENT), np.arange(2), np.array([0, 128]))
    >>> cloud.take()[0].tolist()
    [[7, 1, 7], [9, 2, 9], [0, 128, 0], [255, 0, 255]]
    """

    def __init__(self, width: int, height: int, length: int, points: int, seed: int) -> None:
        self._points, self._seed = points, np.uint64(seed)
        self._spans = np.array([width - 1, height - 1, length - 1, 1]).clip(1)[:, None]
        self._rows, self._keys = np.zeros((4, 0), np.int64), np.zeros(0, np.uint64)

    def add(self, events: Events, places: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Keep the events with the smallest keys of those that were kept and these."""
        rows = np.stack([events["x"], events["y"], offsets, events["p"]]).astype(np.int64)
        rows = np.concatenate([self._rows, rows], axis=1)
        keys = np.concatenate([self._keys, _keys(self._seed, places)])
        if len(keys) > self._points:
            kept = np.sort(np.argpartition(keys, self._points - 1)[: self._points])
            rows, keys = rows[:, kept], keys[kept]
        self._rows, self._keys = rows, keys

    def take(self) -> tuple[NDArray[np.uint8], int]:
        """The cloud; that it is a sample of the events is no loss."""
        rows = self._rows
        self.clear()
        if not rows.shape[1]:
            return np.zeros((4, self._points), np.uint8), 0
        turn = rows[:, np.arange(self._points) % rows.shape[1]]
        return ((turn * HIGHEST + self._spans // 2) // self._spans).astype(np.uint8), 0

    def clear(self) -> None:
        """Forget all events."""
        self._rows, self._keys = self._rows[:, :0], self._keys[:0]

    def arrays(self) -> dict[str, Array]:
        """The events that are drawn so far, and their keys."""
        return {"rows": self._rows.copy(), "keys": self._keys.copy()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on drawing from these.

        Raises:
            ValueError: they are none, or too many.
        """
        rows, keys = arrays["rows"], arrays["keys"]
        if rows.shape != (4, len(keys)) or len(keys) > self._points:
            raise ValueError(f"wanted at most {self._points} points, got {rows.shape} and {keys.shape}")
        self._rows, self._keys = rows.astype(np.int64), keys.astype(np.uint64)


def _keys(seed: np.uint64, places: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Numbers that look random, by the place of an event: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    z = (places + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + seed
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
