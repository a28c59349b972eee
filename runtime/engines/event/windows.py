"""Where the windows of a convolution lie, and what lies outside the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.op import Array


@dataclass(frozen=True)
class Windows:
    """The windows of a convolution of one or two axes; a single axis is the width.

    Attributes:
        geometry: int64 [8], kernel, stride, padding and dilation, each for height and width.
        rows: bool [n, kernel height], which rows of a kernel lie inside the picture: each way there is.
        columns: bool [m, kernel width], likewise.
        kinds: int32 [height out, width out], 1 + the number of the way, of n * m, at each place.
    """

    geometry: Array
    rows: Array
    columns: Array
    kinds: Array

    @staticmethod
    def of(op: Convolution, size: tuple[int, ...], places: tuple[int, ...]) -> Windows:
        """From pictures of a size (height, width) to so many places.

        >>> op = Convolution(np.ones((1, 1, 1, 3)), None, (1, 1), (0, 1), (1, 1))
        >>> windows = Windows.of(op, (1, 4), (1, 4))
        >>> windows.columns.astype(int).tolist(), windows.kinds.tolist()
        ([[0, 1, 1], [1, 1, 0], [1, 1, 1]], [[1, 3, 3, 2]])
        """
        pairs = zip(
            _two(op.kernel, 1), _two(op.stride, 1), _two(op.padding, 0), _two(op.dilation, 1), strict=True
        )
        geometry, ways, numbers = list(pairs), [], []
        for (kernel, stride, padding, dilation), inside, outside in zip(geometry, size, places, strict=True):
            seen = np.arange(outside)[:, None] * stride - padding + np.arange(kernel) * dilation
            way, number = np.unique((seen >= 0) & (seen < inside), axis=0, return_inverse=True)
            ways.append(way)
            numbers.append(number.ravel())
        kinds = 1 + numbers[0][:, None] * len(ways[1]) + numbers[1]
        return Windows(np.array(geometry).T.ravel(), ways[0], ways[1], kinds.astype(np.int32))

    def sums(self, matrix: Array) -> Array:
        """The sums of the rows of weights [taps * channels, outputs] that are inside, [n * m, outputs]."""
        kernel = self.rows.shape[1], self.columns.shape[1]
        taps = matrix.reshape(*kernel, -1, matrix.shape[1]).sum(2, dtype=np.int64)
        inside = (ways.astype(np.int64) for ways in (self.rows, self.columns))
        summed: Array = np.einsum("na,mb,abc->nmc", *inside, taps, optimize=True)
        return summed.reshape(-1, matrix.shape[1])


def _two(numbers: tuple[int, ...], height: int) -> tuple[int, int]:
    """A number for height and one for width."""
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (height, numbers[0])
