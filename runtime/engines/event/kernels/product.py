"""Products of two values, from the entries of the first that are not zero."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.engines.event.kernels.jit import compiled, within
from spikeloom.runtime.engines.event.kernels.vector import (
    LANES,
    add_to_listed,
    count_bits,
    lowest_bit,
    nonzero_32,
    sum_listed,
)

_LANES = 32  # what the inner loop takes at once: two registers of sixteen
_LISTED = 8  # places that are written at once
_NUMBER = 4  # bytes of a sum


@within
def _list_spikes(a: Array, at: int, inner: int, places: Array) -> int:
    """List the bytes of a from ``at`` on that are not zero, of ``inner``, a multiple of 32; how many."""
    count = 0
    for k in range(0, inner, LANES):
        bits = nonzero_32(a, at + k)
        place = count
        count += count_bits(bits)
        while place < count:
            for step in range(_LISTED):
                places[place + step] = k + lowest_bit(bits)
                bits &= bits - np.uint64(1)
            place += _LISTED
    return count


@compiled
def spike_product(a: Array, b: Array, y: Array) -> None:
    """As :func:`masked_product`, for spikes a, and rows of a, b and y that lie together in memory.

    Rows are multiples of 32; a is uint8, b int32.
    """
    batch, heads, rows, inner = a.shape
    places = np.empty(inner + _LISTED, np.int32)
    for n in range(batch):
        for h in range(heads):
            source = n * b.strides[0] + h * b.strides[1]
            for i in range(rows):
                count = _list_spikes(a, n * a.strides[0] + h * a.strides[1] + i * a.strides[2], inner, places)
                target = n * y.strides[0] + h * y.strides[1] + i * y.strides[2]
                for byte in range(0, b.shape[3] * _NUMBER, LANES * _NUMBER):
                    sum_listed(b, source + byte, b.strides[2], places, count, y, target + byte)


@compiled
def spike_outer_product(a: Array, b: Array, y: Array) -> None:
    """As :func:`masked_outer_product`, for spikes a and uint8 b; columns of a, rows of b and y lie together.

    These are multiples of 32.
    """
    batch, heads, rows, inner = a.shape
    places = np.empty(rows + _LISTED, np.int32)
    for n in range(batch):
        for h in range(heads):
            target = n * y.strides[0] + h * y.strides[1]
            for i in range(rows):
                for byte in range(0, b.shape[3] * _NUMBER, LANES * _NUMBER):
                    sum_listed(y, target, 0, places, 0, y, target + i * y.strides[2] + byte)  # none: zeros
            for k in range(inner):
                count = _list_spikes(a, n * a.strides[0] + h * a.strides[1] + k * a.strides[3], rows, places)
                source = n * b.strides[0] + h * b.strides[1] + k * b.strides[2]
                for column in range(0, b.shape[3], LANES):
                    to = target + column * _NUMBER
                    add_to_listed(b, source + column, places, count, y, to, y.strides[2])


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
