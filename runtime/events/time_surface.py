"""Time surfaces: of each pixel and polarity, how long ago it last saw an event.

Source: Lagorce, Orchard, Galluppi, Shi, Benosman, «HOTS: A Hierarchy of Event-Based Time-Surfaces for
Pattern Recognition», IEEE TPAMI 39, 2017, with exponential decay as there; here over the whole sensor and at
the end of each frame. Where the latest event of a pixel is the time a ago, its value is exp(-a / τ), and 0
where there has been none since the sample began. Windows and values are those of tonic's
`to_timesurface_numpy`.

The byte of a pixel is ⌊levels · exp(-a / τ) + ½⌋: the largest k with a ≤ ⌊τ · ln(levels / (k - ½))⌋. Those
bounds are computed in decimal arithmetic, which is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.events.accumulator import cells_of, refill
from spikeloom.runtime.events.stream import Events

_NEVER = -(2**62)


class TimeSurface:
    """Makes time surfaces uint8 [2, height, width], each at the end of a frame.

    Args:
        shape: of a frame.
        polarity: its channels.
        length: of a frame in microseconds.
        tau_us: the time constant τ in microseconds.
        levels: the value of a pixel whose event is of this very moment.

    >>> from spikeloom.runtime.events.stream import EVENT
    >>> surface = TimeSurface((2, 1, 1), ("off", "on"), length=10, tau_us=10, levels=100)
    >>> surface.add(np.array([(5, 0, 0, 1)], EVENT), np.array([0]), np.array([0]))
    >>> [surface.take()[0].ravel().tolist() for _ in range(3)]
    [[0, 37], [0, 14], [0, 5]]
    """

    def __init__(
        self, shape: Sequence[int], polarity: Sequence[str], length: int, tau_us: int, levels: int
    ) -> None:
        self._polarity, self._length, self._levels = polarity, length, levels
        self._oldest = _oldest(tau_us, levels)
        self._latest = np.full(shape, _NEVER)  # from the begin of the frame

    def add(self, events: Events, places: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Remember the latest event of each pixel."""
        cells = cells_of(events, self._polarity, *self._latest.shape[1:])
        np.maximum.at(self._latest.reshape(-1), cells, offsets)

    def take(self) -> tuple[NDArray[np.uint8], int]:
        """The surface at the end of the frame; bytes hold it all."""
        ages = self._length - self._latest
        frame = self._levels - np.searchsorted(self._oldest, ages)
        self._latest = np.maximum(self._latest - self._length, _NEVER)
        return frame.astype(np.uint8), 0

    def clear(self) -> None:
        """Forget all events: nothing fades on."""
        self._latest[:] = _NEVER

    def arrays(self) -> dict[str, Array]:
        """When each pixel had its latest event."""
        return {"latest": self._latest.copy()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on from these times."""
        refill(self._latest, arrays["latest"])


def _oldest(tau_us: int, levels: int) -> NDArray[np.int64]:
    """The age up to which a pixel has each level, from the highest level on."""
    with localcontext() as context:
        context.prec = 40
        ratios = (Decimal(levels) / (k - Decimal("0.5")) for k in range(levels, 0, -1))
        return np.array([int(tau_us * ratio.ln()) for ratio in ratios], np.int64)
