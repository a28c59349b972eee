"""Point clouds: of each window of time a fixed number of its events, as networks of points take them.

SpikePoint (Ren et al., ICLR 2024) and other networks of points read x, y, t and polarity of so many events a
window. Which events these are is drawn without replacement: each has a key that depends on the seed and its
place in the recording alone, and those with the smallest keys are taken, in order of time. So the same events
are drawn however the recording is cut into chunks, and no more than the points of a window are kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.stream import EVENT, Events, Geometry

FEATURES = ("x", "y", "t", "p")
HIGHEST = 255


class PointCloud:
    """Turns events into clouds uint8 [4, points] as they come, in chunks of any size.

    The rows are :data:`FEATURES`, each spread over 0 to 255: x and y over the sensor, t over the window, p
    over the polarities. A window with fewer events repeats them in turn; one without gives zeros.

    Args:
        geometry: the sensor that the events lie on.
        window_us: the length of a window in microseconds; the first begins at the first event.
        points: events of a cloud.
        seed: of the drawing.

    >>> cloud = PointCloud(Geometry(256, 256), window_us=256, points=3)
    >>> events = np.array([(0, 7, 9, 1), (128, 1, 2, 0), (300, 0, 0, 1)], EVENT)
    >>> [one.tolist() for one in cloud.push(events)]
    [[[7, 1, 7], [9, 2, 9], [0, 128, 0], [255, 0, 255]]]
    >>> [one[2].tolist() for one in cloud.finish()]
    [[44, 44, 44]]
    """

    def __init__(self, geometry: Geometry, window_us: int, points: int, seed: int = 0) -> None:
        if window_us < 1 or points < 1:
            raise ValueError(f"no cloud has a window of {window_us} us and {points} points")
        self._window, self._points, self._seed = window_us, points, np.uint64(seed)
        self._spans = np.array(
            [geometry.width - 1, geometry.height - 1, window_us - 1, geometry.polarities - 1]
        ).clip(1)
        self._first: int | None = None
        self._index = self._seen = 0
        self._events, self._keys = np.zeros(0, EVENT), np.zeros(0, np.uint64)

    def push(self, events: Events) -> list[NDArray[np.uint8]]:
        """Take the next events [n], in order of time, and give the clouds that are finished now."""
        if not len(events):
            return []
        if self._first is None:
            self._first = int(events["t"][0])
        keys = _keys(self._seed, self._seen, len(events))
        self._seen += len(events)
        windows = (events["t"] - self._first) // self._window
        finished = []
        for window in np.unique(windows).tolist():
            while self._index < window:
                finished.append(self._cloud())
            self._draw(events[windows == window], keys[windows == window])
        return finished

    def finish(self) -> list[NDArray[np.uint8]]:
        """The cloud of the last window, if it has begun."""
        return [self._cloud()] if len(self._events) else []

    def _draw(self, events: Events, keys: NDArray[np.uint64]) -> None:
        """Keep the events with the smallest keys of those that were kept and these."""
        events, keys = np.concatenate([self._events, events]), np.concatenate([self._keys, keys])
        if len(keys) > self._points:
            kept = np.sort(np.argpartition(keys, self._points - 1)[: self._points])
            events, keys = events[kept], keys[kept]
        self._events, self._keys = events, keys

    def _cloud(self) -> NDArray[np.uint8]:
        events, self._events, self._keys = self._events, self._events[:0], self._keys[:0]
        begin = (self._first or 0) + self._index * self._window
        self._index += 1
        if not len(events):
            return np.zeros((len(FEATURES), self._points), np.uint8)
        turn = events[np.arange(self._points) % len(events)]
        values = np.stack([turn["x"], turn["y"], turn["t"] - begin, turn["p"]]).astype(np.int64)
        return np.asarray((values * HIGHEST + self._spans[:, None] // 2) // self._spans[:, None], np.uint8)


def _keys(seed: np.uint64, first: int, count: int) -> NDArray[np.uint64]:
    """Numbers that look random, by the place of an event: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    z = np.arange(first + 1, first + count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + seed
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
