"""Products of two values, from the entries of the first that are not zero."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.engines.event.kernels.jit import compiled

_LANES = 32  # what the inner loop takes at once: two registers of sixteen


@compiled
def masked_product(a: Array, b: Array, y: Array) -> None:
    """Write a @ b to y, skipping every entry of a that is zero.

    With spikes as a, a row of b is added or not: q (k' v) without a multiplication that matters. In
    k' v both operands are spikes, so that the sums are counts of coincidences.

    a is [batch, heads, rows, inner] and b [batch, heads, inner, columns], uint8 or int32 in any order of
    memory; y is int32 [batch, heads, rows, columns].
    """
    batch, heads, rows, inner = a.shape
    width = b.shape[3]
    wide = (width + _LANES - 1) // _LANES * _LANES
    held = np.zeros((inner, wide), np.int32)
    total = np.empty(wide, np.int32)
    places = np.empty(inner + 1, np.int64)
    for n in range(batch):
        for h in range(heads):
            for k in range(inner):
                for j in range(width):
                    held[k, j] = b[n, h, k, j]
            for i in range(rows):
                count = 0
                for k in range(inner):
                    places[count] = k
                    count += a[n, h, i, k] != 0
                total[:] = 0
                for place in range(count):
                    k = places[place]
                    factor = np.int32(a[n, h, i, k])
                    for j in range(wide):
                        total[j] += np.int32(factor * held[k, j])
                for j in range(width):
                    y[n, h, i, j] = total[j]


@compiled
def masked_outer_product(a: Array, b: Array, y: Array) -> None:
    """As :func:`masked_product`, for an ``a`` whose columns lie together in memory: k' of attention.

    One row of b after the other is added to the rows of y whose entry of a is not zero.
    """
    batch, heads, rows, inner = a.shape
    width = b.shape[3]
    wide = (width + _LANES - 1) // _LANES * _LANES
    total = np.empty((rows, wide), np.int32)
    added = np.zeros(wide, np.int32)
    places = np.empty(rows + 1, np.int64)
    for n in range(batch):
        for h in range(heads):
            total[:] = 0
            for k in range(inner):
                count = 0
                for i in range(rows):
                    places[count] = i
                    count += a[n, h, i, k] != 0
                for j in range(width):
                    added[j] = b[n, h, k, j]
                for place in range(count):
                    i = places[place]
                    factor = np.int32(a[n, h, i, k])
                    for j in range(wide):
                        total[i, j] += np.int32(factor * added[j])
            y[n, h] = total[:, :width]
