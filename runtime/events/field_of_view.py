"""The field of view: which pixel of a frame each pixel of the sensor goes to, if to any.

A box is cut out of the sensor first, then it is downsampled: column x of the box goes to column ⌊x / k⌋
where the factor k is a whole number, and to ⌊x · f⌋ in float64 where f is a fraction below 1; rows likewise.
Those are tonic's `CenterCrop` and `Downsample(spatial_factor=f)`, one after the other. Frames are as wide as
it takes to hold the last column: no pixel is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.stream import Events

_NOWHERE = -1


class FieldOfView(NamedTuple):
    """For each column and each row of the sensor that of the frame, or -1 outside the box.

    ``whole`` says that frames have the pixels of the sensor.

    >>> from spikeloom.runtime.events.stream import EVENT
    >>> view = field_of_view(6, 4, crop=(4, 4), downsample=2)
    >>> view.columns.tolist(), view.rows.tolist(), view.width, view.height
    ([-1, 0, 0, 1, 1, -1], [0, 0, 1, 1], 2, 2)
    >>> places, seen = view.of(np.array([(7, 0, 0, 1), (8, 4, 3, 0)], EVENT))
    >>> places.tolist(), seen.tolist()
    ([1], [(8, 1, 1, 0)])
    """

    columns: NDArray[np.int64]
    rows: NDArray[np.int64]
    whole: bool = False

    @property
    def width(self) -> int:
        """Columns of a frame."""
        return int(self.columns.max()) + 1

    @property
    def height(self) -> int:
        """Rows of a frame."""
        return int(self.rows.max()) + 1

    def of(self, events: Events) -> tuple[NDArray[np.intp], Events]:
        """The places among the events [n] of those within the box, and those with the frame's pixels."""
        if self.whole:
            return np.arange(len(events)), events
        x, y = self.columns[events["x"]], self.rows[events["y"]]
        places = np.flatnonzero((x != _NOWHERE) & (y != _NOWHERE))
        seen = events[places]
        seen["x"], seen["y"] = x[places], y[places]
        return places, seen


def field_of_view(
    width: int, height: int, crop: Sequence[int] | None, downsample: float | Sequence[float]
) -> FieldOfView:
    """The field of view on a sensor of width × height pixels.

    Args:
        width: of the sensor.
        height: of the sensor.
        crop: a box [x, y, width, height], or [width, height] in the middle; None for all.
        downsample: k or f, for columns and rows or for each of them.
    """
    box = tuple(crop) if crop is not None else (width, height)
    if len(box) == 2:
        box = ((width - box[0]) // 2, (height - box[1]) // 2, *box)
    factors = (downsample, downsample) if isinstance(downsample, int | float) else tuple(downsample)
    columns = _axis(width, box[0], box[2], factors[0])
    rows = _axis(height, box[1], box[3], factors[1])
    return FieldOfView(columns, rows, whole=box[2:] == (width, height) and factors == (1, 1))


def _axis(side: int, first: int, length: int, factor: float) -> NDArray[np.int64]:
    inside = np.arange(length)
    places = np.full(side, _NOWHERE, np.int64)
    places[first : first + length] = inside // factor if factor >= 1 else inside * factor
    return places
