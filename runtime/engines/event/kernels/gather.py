"""Event-driven products: rows of the weights are added where the input is not zero.

Sums are kept in 16 bits as long as they cannot overflow, 255 rows of 8-bit weights, since twice as many of
them fit a vector register. A graded input of k counts as k inputs of one. Weights have columns of zeros up
to a multiple of :data:`COLUMNS`.
"""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.engines.event.kernels.jit import compiled
from spikeloom.runtime.engines.event.kernels.vector import (
    AHEAD,
    LANES,
    add_rows_32,
    add_rows_64,
    add_rows_128,
    add_rows_384,
    add_rows_512,
    lowest_bit,
    nonzero_64,
)

COLUMNS = LANES
ROOM = AHEAD  # how much longer a list is than what it holds
_ROWS = 248  # below 256: 255 * 128 is the last sum that fits 16 bits


@compiled
def _add_rows(weight: Array, rows: Array, start: int, stop: int, shift: int, total: Array) -> None:
    """Add weight[r + shift, :] to total for the r in rows[start:stop]."""
    outputs = weight.shape[1]
    for first in range(start, stop, _ROWS):
        last, column = min(first + _ROWS, stop), 0
        while column + 512 <= outputs:
            add_rows_512(weight, column, rows, first, last, shift, total)
            column += 512
        if column + 384 <= outputs:
            add_rows_384(weight, column, rows, first, last, shift, total)
            column += 384
        while column + 128 <= outputs:
            add_rows_128(weight, column, rows, first, last, shift, total)
            column += 128
        if column + 64 <= outputs:
            add_rows_64(weight, column, rows, first, last, shift, total)
            column += 64
        if column + 32 <= outputs:
            add_rows_32(weight, column, rows, first, last, shift, total)


@compiled
def _list_active(x: Array, start: int, stop: int, origin: int, highest: int, rows: Array, count: int) -> int:
    """Append k - origin, x[k] times, for each k from start to stop to ``rows``; returns the new count.

    x is uint8 [n] and ``highest`` its largest number.
    """
    k = start
    while highest == 1 and k < stop and k + 64 <= x.shape[0]:
        bits = nonzero_64(x, k)
        if stop - k < 64:
            bits &= (np.uint64(1) << np.uint64(stop - k)) - np.uint64(1)
        while bits:
            rows[count] = k - origin + lowest_bit(bits)
            count += 1
            bits &= bits - np.uint64(1)
        k += 64
    while k < stop:
        for _ in range(x[k]):
            rows[count] = k - origin
            count += 1
        k += 1
    return count


@compiled
def active_share(x: Array) -> float:
    """About what share of a value [rows, inputs] is not zero; looks at 16 rows at most."""
    step = max(1, x.shape[0] // 16)
    found, seen = 0, 0
    for m in range(0, x.shape[0], step):
        for k in range(x.shape[1]):
            found += x[m, k] != 0
        seen += x.shape[1]
    return found / seen


@compiled
def gather_rows(
    x: Array, weight: Array, bias: Array, highest: int, limit: float, rows: Array, total: Array, y: Array
) -> bool:
    """Write x @ weight + bias to y; False, and nothing done, if more than ``limit`` of x is not zero.

    x is uint8 [rows, inputs] of 0..highest, weight int8 [inputs, columns], bias int32 [columns], y int32
    [rows, outputs] with outputs <= columns. The rest is room: int32 [inputs * highest + ROOM] and, where
    there are fewer outputs than columns, int32 [columns].
    """
    if limit < 1 and active_share(x) > limit:
        return False
    inputs, outputs = x.shape[1], y.shape[1]
    flat = x.reshape(x.size)
    for m in range(x.shape[0]):
        count = _list_active(flat, m * inputs, (m + 1) * inputs, m * inputs, highest, rows, 0)
        sums = y[m] if outputs == weight.shape[1] else total
        sums[:] = bias
        _add_rows(weight, rows, 0, count, 0, sums)
        if outputs != weight.shape[1]:
            y[m] = total[:outputs]
    return True


@compiled
def gather_windows(
    x: Array,
    weight: Array,
    bias: Array,
    geometry: Array,
    highest: int,
    limit: float,
    places: Array,
    starts: Array,
    total: Array,
    y: Array,
) -> bool:
    """A convolution of two axes from the inputs that are not zero; False if more than ``limit`` of x is not.

    x is uint8 [images, height, width, channels] of 0..highest, weight int8 [taps * channels, columns], bias
    int32 [columns], y int32 [images, height out, width out, outputs]. ``geometry`` holds kernel, stride,
    padding and dilation, each for height and width. The rest is room: int32 [height, width * channels *
    highest + ROOM] for the places of a picture that are not zero, int32 [height, width + 1] for where those
    of each pixel begin, and int32 [columns].
    """
    images, height, width, channels = x.shape
    if limit < 1 and active_share(x.reshape(images * height * width, channels)) > limit:
        return False
    flat = x.reshape(x.size)
    for n in range(images):
        for i in range(height):
            origin, count = (n * height + i) * width * channels, 0
            for j in range(width):
                starts[i, j] = count
                first = origin + j * channels
                count = _list_active(flat, first, first + channels, origin, highest, places[i], count)
            starts[i, width] = count
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                total[:] = bias
                _add_window(weight, geometry, channels, places, starts, i, j, total)
                y[n, i, j] = total[: y.shape[3]]
    return True


@compiled
def _add_window(
    weight: Array, geometry: Array, channels: int, places: Array, starts: Array, i: int, j: int, total: Array
) -> None:
    """Add what one window of a picture contributes; pixels that lie side by side are one run of a list."""
    kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w = geometry
    height, width = starts.shape[0], starts.shape[1] - 1
    run = kernel_w if dilation_w == 1 else 1
    for a in range(kernel_h):
        row = i * stride_h + a * dilation_h - pad_h
        if row < 0 or row >= height:
            continue
        for b in range(0, kernel_w, run):
            column = j * stride_w + b * dilation_w - pad_w
            first, last = max(column, 0), min(column + run, width)
            if first < last:
                shift = (a * kernel_w + b - column) * channels
                _add_rows(weight, places[row], starts[row, first], starts[row, last], shift, total)
