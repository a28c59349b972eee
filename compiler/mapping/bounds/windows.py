"""How many positions any set of positions reads through a window: the seams that no tile can avoid."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.network import Projection, SourceAxis

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Windows:
    """A projection from channels, rows and columns, or channels and columns, through a window over positions.

    Attributes:
        channels: the axis of the source's channels.
        whole: whether every target reads all of them.
        rows, columns: of the source; one row if it has columns only.
        positions: rows times columns of the target.
        inner: positions of the target whose window meets no border.
        stride: source positions that each target position reads and no other does.
        reach: positions that a window reads to every side, if windows overlap.
    """

    channels: SourceAxis
    whole: bool
    rows: int
    columns: int
    positions: int
    inner: int
    stride: int
    reach: int

    def spread(self, positions: Values) -> Values:
        """The fewest positions of the source that so many positions of the target read.

        Let B be b positions of a grid of s = rows x columns, and N all within the reach h of them along both
        axes. Pushing B to one end of every column, then of every row, does not enlarge N, so that B may be
        taken to lie in a corner, with rows and columns that shrink away from it. Then N is B + [0, h]^2, cut
        at the far borders. If nothing is cut, N has at least (sqrt(b) + h)^2 positions (Brunn and Minkowski).
        If it is cut along one axis, N gains h whole rows or columns. If along both, what N leaves out,
        enlarged by [0, h]^2, still lies outside B, so that it has at most (sqrt(s - b) - h)^2 positions.
        """
        inside = np.minimum(positions, self.rows * self.columns)
        if not self.reach:
            return self.stride * inside
        size = self.rows * self.columns
        free = (np.sqrt(inside) + self.reach) ** 2
        along = inside + self.reach * min(self.rows, self.columns)
        filled = size - np.maximum(np.sqrt(size - inside) - self.reach, 0.0) ** 2
        fewest: Values = np.minimum(np.minimum(free, along), filled)
        return np.where(inside > 0, fewest, 0.0)


def windows_of(projection: Projection) -> Windows | None:
    """The windows of a projection; None if it is of another kind, or leaves gaps."""
    if len(projection.source_axes) not in (2, 3) or any(len(group) != 1 for group in projection.source_axes):
        return None
    channels, *along = (group[0] for group in projection.source_axes)
    counts = [projection.target_sizes[axis.target] for axis in along if axis.target is not None]
    if len(counts) < len(along) or any(axis.dilation != 1 for axis in along):
        return None
    if not all(_without_gaps(axis, count) for axis, count in zip(along, counts, strict=True)):
        return None
    stride = prod(axis.stride for axis in along)
    reach = min(min(-axis.offset, axis.taps - 1 + axis.offset) for axis in along) if stride == 1 else 0
    inner = prod(_inner(axis, count) for axis, count in zip(along, counts, strict=True))
    rows, columns = ([1] + [axis.size for axis in along])[-2:]
    outputs = 1 if channels.target is None else projection.target_sizes[channels.target]
    whole = channels.pairs(0, outputs) == channels.size * outputs
    return Windows(channels, whole, rows, columns, prod(counts), inner, stride, reach)


def _without_gaps(axis: SourceAxis, count: int) -> bool:
    """Whether each target index t reads the source indices from t * stride on, as many as the stride."""
    return axis.offset <= 0 <= axis.offset + axis.taps - axis.stride and count * axis.stride <= axis.size


def _inner(axis: SourceAxis, count: int) -> int:
    starts = np.arange(count) * axis.stride + axis.offset
    return int(((starts >= 0) & (starts + axis.taps <= axis.size)).sum())
