"""Integers brought to another unit."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.engines.event.kernels.jit import compiled


@compiled
def rescale(
    x: Array, factor: Array, offset: Array, half: int, shift: int, low: int, high: int, y: Array
) -> None:
    """Write clip(((x * factor + half) >> shift) + offset, low, high) to y.

    x and y are [batch, rows, columns], uint8 or int32 and int32; the parameters int64 [1 or rows, columns].
    """
    batch, rows, columns = x.shape
    for n in range(batch):
        for r in range(rows):
            p = r if factor.shape[0] > 1 else 0
            for c in range(columns):
                moved = ((np.int64(x[n, r, c]) * factor[p, c] + half) >> shift) + offset[p, c]
                y[n, r, c] = min(max(moved, low), high)
