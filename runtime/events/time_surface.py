"""Time surfaces: of each pixel and polarity, how long ago it last saw an event.

Source: Lagorce et al., «HOTS: A Hierarchy of Event-Based Time-Surfaces for Pattern Recognition», IEEE TPAMI
39, 2017; windows and arithmetic are those of tonic 1.7's `to_timesurface_numpy`. Windows of length d begin at
the first event's time t₀; at the end of window i, with the latest event of a pixel at time m, its value is

    exp(-((i + 1)·d + t₀ - m) / τ),

and 0 where there was none. Only whole windows give a surface, but the first always does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.stream import Events, Geometry


class TimeSurface:
    """Turns events into time surfaces [2, height, width] as they come, in chunks of any size.

    Surfaces are real numbers from 0 to 1, so a network takes them as arrays.

    Args:
        geometry: the sensor that the events lie on.
        window_us: the length d of a window in microseconds.
        tau_us: the time constant τ in microseconds.

    >>> from spikeloom.runtime.events.stream import EVENT
    >>> surface = TimeSurface(Geometry(1, 1), window_us=10, tau_us=10)
    >>> events = np.array([(5, 0, 0, 1), (15, 0, 0, 0), (27, 0, 0, 0)], EVENT)
    >>> [one.round(3).ravel().tolist() for one in surface.push(events)]
    [[0.0, 0.368], [0.368, 0.135]]
    >>> surface.finish()
    []
    """

    def __init__(self, geometry: Geometry, window_us: int, tau_us: float) -> None:
        if window_us < 1 or tau_us <= 0:
            raise ValueError(f"no time surface has a window of {window_us} us and a constant of {tau_us} us")
        self._window, self._tau = window_us, tau_us
        self._latest = np.full((geometry.polarities, geometry.height, geometry.width), -np.inf)
        self._first: int | None = None
        self._index = 0

    def push(self, events: Events) -> list[NDArray[np.float64]]:
        """Take the next events [n], in order of time, and give the surfaces that are finished now."""
        if not len(events):
            return []
        if self._first is None:
            self._first = int(events["t"][0])
        windows = (events["t"] - self._first) // self._window
        finished = []
        for window in np.unique(windows).tolist():
            while self._index < window:
                finished.append(self._surface())
            part = events[windows == window]
            self._latest[part["p"], part["y"], part["x"]] = part["t"]
        return finished

    def finish(self) -> list[NDArray[np.float64]]:
        """The surface of the first window if the recording was shorter, else nothing."""
        return [self._surface()] if self._index == 0 and self._first is not None else []

    def _surface(self) -> NDArray[np.float64]:
        assert self._first is not None
        self._index += 1
        age = self._index * self._window + self._first - self._latest
        surface: NDArray[np.float64] = np.exp(-age / self._tau)
        return surface
