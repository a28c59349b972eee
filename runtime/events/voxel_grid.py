"""Voxel grids: events shared out between the two nearest frames in time.

Source: Zhu, Yuan, Chaney, Daniilidis, «Unsupervised Event-based Learning of Optical Flow, Depth, and
Egomotion», CVPR 2019, eq. 1 and 2. Frame i stands for the time i on a scale τ, and holds

    V(i) = Σ pₖ · max(0, 1 - |i - τₖ|)

over the events k of a pixel: the sum of ±1 in a single channel, or of 1 in the channel of each polarity. On
the scale of a recipe of kind «time» the last event is at T - 1 (Zhu et al., DSEC, E2VID), or at T (tonic's
`to_voxel_grid_numpy`), where its whole weight lies after the last frame. On that of «fixed_duration» frames
are d microseconds apart, which can be streamed; Zhu's grid of B bins over a window of length W is that of
d = W / (B - 1).

Sums are kept as whole numbers of an event's weight divided by the length of a frame, so they are exact and do
not depend on any order. The byte of a pixel is ⌊levels · V + ½⌋ + zero, saturated to 0 and 255.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.events.accumulator import cells_of, refill
from spikeloom.runtime.events.stream import Events


class VoxelGrid:
    """Makes the frames uint8 [channels, height, width] of a voxel grid.

    Args:
        shape: of a frame.
        polarity: its channels; ("on-off",) is a single one.
        length: from one frame to the next, in the unit of the offsets.
        levels: what an event weighs.
        zero: the byte of 0.

    >>> from spikeloom.runtime.events.stream import EVENT
    >>> grid = VoxelGrid((1, 1, 1), ("on-off",), length=10, levels=20, zero=128)
    >>> grid.add(np.array([(4, 0, 0, 1)], EVENT), np.array([0]), np.array([4]))
    >>> [int(grid.take()[0].item()) - 128 for _ in range(3)]
    [12, 8, 0]
    """

    def __init__(
        self, shape: Sequence[int], polarity: Sequence[str], length: int, levels: int, zero: int
    ) -> None:
        self._polarity, self._length, self._levels, self._zero = polarity, max(length, 1), levels, zero
        self._sums, self._next = np.zeros(shape, np.int64), np.zeros(shape, np.int64)

    def add(self, events: Events, places: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Share each event out between the frame that is begun and the next."""
        cells = cells_of(events, self._polarity, *self._sums.shape[1:])
        sign = np.where(events["p"] == 0, -1, 1) if len(self._polarity) == 1 else 1
        np.add.at(self._sums.reshape(-1), cells, sign * (self._length - offsets))
        np.add.at(self._next.reshape(-1), cells, sign * offsets)

    def take(self) -> tuple[NDArray[np.uint8], int]:
        """The frame, and how many events' worth was beyond its bytes."""
        whole, rest = np.divmod(self._sums, self._length)
        values = self._levels * whole + (2 * self._levels * rest + self._length) // (2 * self._length)
        values += self._zero
        frame = values.clip(0, 255)
        lost = -(-np.abs(values - frame) // self._levels)
        self._sums, self._next = self._next, self._sums
        self._next[:] = 0
        return frame.astype(np.uint8), int(lost.sum())

    def clear(self) -> None:
        """Begin anew, without what earlier events left to the next frame."""
        self._sums[:] = self._next[:] = 0

    def arrays(self) -> dict[str, Array]:
        """The sums of the frame that is begun and of the next."""
        return {"sums": self._sums.copy(), "next": self._next.copy()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on from these sums."""
        refill(self._sums, arrays["sums"])
        refill(self._next, arrays["next"])
