"""Event-driven products: rows of the weights are added where the input is not zero.

Where more than half of the spikes are ones, the rows of the zeros are subtracted from the sum of all rows
instead. Sums are kept in 16 bits as long as they cannot overflow, since twice as many of them fit a vector
register. A graded input of k counts as k inputs of one. Weights lie as
:func:`~spikeloom.runtime.engines.event.kernels.woven.woven` lays them.
"""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.engines.event.kernels.jit import compiled, within
from spikeloom.runtime.engines.event.kernels.vector import (
    AHEAD,
    MOVED,
    add_rows_64,
    add_rows_128,
    add_rows_192,
    add_rows_256,
    add_rows_384,
    add_rows_512,
    count_bits,
    lowest_bit,
    nonzero_64,
    shift_16,
)

_LISTED = 8  # places that are written at once
ROOM = max(AHEAD, MOVED, _LISTED)  # how much longer a list is than what it holds


@within
def _add_rows(
    weight: Array,
    column: int,
    end: int,
    rows: Array,
    count: int,
    minus: int,
    base: Array,
    base_at: int,
    total: Array,
    total_at: int,
) -> None:
    """Write base plus, or minus, weight[r] for the r in rows[:count] to some columns of total."""
    while column + 512 <= end:
        add_rows_512(weight, column, rows, count, minus, base, base_at, total, total_at)
        column += 512
    if column + 384 <= end:
        add_rows_384(weight, column, rows, count, minus, base, base_at, total, total_at)
        column += 384
    if column + 256 <= end:
        add_rows_256(weight, column, rows, count, minus, base, base_at, total, total_at)
        column += 256
    if column + 192 <= end:
        add_rows_192(weight, column, rows, count, minus, base, base_at, total, total_at)
    elif column + 128 <= end:
        add_rows_128(weight, column, rows, count, minus, base, base_at, total, total_at)
    elif column + 64 <= end:
        add_rows_64(weight, column, rows, count, minus, base, base_at, total, total_at)


@within
def _list_places(
    x: Array, start: int, stop: int, origin: int, highest: int, silent: bool, rows: Array, count: int
) -> int:
    """Append k - origin, x[k] times, for each k from start to stop to ``rows``; returns the new count.

    x is uint8 [n] and ``highest`` its largest number; where ``silent``, it is 0 or 1, and zeros are listed.
    """
    k, flip = start, ~np.uint64(0) if silent else np.uint64(0)
    while highest == 1 and k < stop and k + 64 <= x.shape[0]:
        bits = nonzero_64(x, k) ^ flip
        if stop - k < 64:
            bits &= (np.uint64(1) << np.uint64(stop - k)) - np.uint64(1)
        at = count
        count += count_bits(bits)
        while at < count:
            for place in range(at, at + _LISTED):
                rows[place] = k - origin + lowest_bit(bits)
                bits &= bits - np.uint64(1)
            at += _LISTED
        k += 64
    while k < stop:
        for _ in range(1 - x[k] if silent else x[k]):
            rows[count] = k - origin
            count += 1
        k += 1
    return count


@within
def active_share(x: Array) -> float:
    """About what share of a value [rows, inputs] is not zero; looks at 16 rows at most."""
    rows, inputs = x.shape
    flat, step = x.reshape(x.size), max(1, rows // 16)
    found, seen = 0, 0
    for m in range(0, rows, step):
        k, stop = m * inputs, (m + 1) * inputs
        while k + 64 <= stop:
            found += count_bits(nonzero_64(flat, k))
            k += 64
        while k < stop:
            found += flat[k] != 0
            k += 1
        seen += inputs
    return found / seen


@compiled
def gather_rows(
    x: Array, weight: Array, bases: Array, highest: int, limit: float, rows: Array, total: Array, y: Array
) -> bool:
    """Write x @ weight + bias to y; False, and nothing done, if there are more than ``limit`` rows to add.

    x is uint8 [rows, inputs] of 0..highest, weight uint8 [inputs, columns], y int32 [rows, outputs] with
    outputs <= columns. ``bases``, int32 [2, columns], holds the bias, and the bias plus all rows of the
    weights, which is read where ``highest`` is 1. The limit is a share of the inputs. The rest is room: int32
    [inputs * highest + ROOM] and, where there are fewer outputs than columns, int32 [columns].
    """
    share = active_share(x)
    silent = highest == 1 and share > 0.5
    if limit < (1 - share if silent else share):
        return False
    inputs, outputs, columns = x.shape[1], y.shape[1], weight.shape[1]
    flat, base, minus = x.reshape(x.size), bases.reshape(bases.size), -1 if silent else 0
    sums = y.reshape(y.size) if outputs == columns else total
    stride = columns if outputs == columns else 0
    for m in range(x.shape[0]):
        count = _list_places(flat, m * inputs, (m + 1) * inputs, m * inputs, highest, silent, rows, 0)
        _add_rows(weight, 0, columns, rows, count, minus, base, silent * columns, sums, m * stride)
        if stride == 0:
            for c in range(outputs):
                y[m, c] = total[c]
    return True


@compiled
def gather_windows(
    x: Array,
    weight: Array,
    bases: Array,
    kinds: Array,
    geometry: Array,
    highest: int,
    limit: float,
    block: int,
    places: Array,
    starts: Array,
    window: Array,
    total: Array,
    y: Array,
) -> bool:
    """A convolution of two axes, as :func:`gather_rows`, from what is active in a picture.

    x is uint8 [images, height, width, channels] of 0..highest, weight uint8 [taps * channels, columns], y
    int32 [images, height out, width out, outputs]. ``bases``, int32 [1 + n, columns], begins with the bias;
    ``kinds``, int32 [height out, width out], says which of the others is the bias plus all rows of weights
    that lie inside the picture. ``geometry`` holds kernel, stride, padding and dilation, each for height and
    width. ``block`` columns of the weights stay in the cache. The rest is room: int32 [height, width *
    channels * highest + ROOM] for the places of a picture, int32 [height, width + 1] for where those of each
    pixel begin, int32 [taps * channels * highest + ROOM] for those of a window, and int32 [columns].
    """
    images, height, width, channels = x.shape
    share = active_share(x.reshape(images * height * width, channels))
    silent = highest == 1 and share > 0.5
    if limit < (1 - share if silent else share):
        return False
    flat, listed, minus = x.reshape(x.size), places.reshape(places.size), -1 if silent else 0
    outputs, columns, length = y.shape[3], weight.shape[1], places.shape[1]
    base, sums = bases.reshape(bases.size), y.reshape(y.size) if outputs == columns else total
    stride = columns if outputs == columns else 0
    for n in range(images):
        for i in range(height):
            origin, count = (n * height + i) * width * channels, i * length
            for j in range(width):
                starts[i, j] = count
                first = origin + j * channels
                count = _list_places(flat, first, first + channels, origin, highest, silent, listed, count)
            starts[i, width] = count
        for column in range(0, columns, block):
            end = min(column + block, columns)
            for i in range(y.shape[1]):
                for j in range(y.shape[2]):
                    count = _list_window(geometry, channels, listed, starts, i, j, window)
                    base_at = kinds[i, j] * columns if silent else 0
                    at = ((n * y.shape[1] + i) * y.shape[2] + j) * stride
                    _add_rows(weight, column, end, window, count, minus, base, base_at, sums, at)
                    if stride == 0:
                        for c in range(column, min(end, outputs)):
                            y[n, i, j, c] = total[c]
    return True


@within
def _list_window(
    geometry: Array, channels: int, listed: Array, starts: Array, i: int, j: int, window: Array
) -> int:
    """List the rows of weights of one window; pixels that lie side by side are one run of places."""
    kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w = geometry
    height, width = starts.shape[0], starts.shape[1] - 1
    run = kernel_w if dilation_w == 1 else 1
    count = 0
    for a in range(kernel_h):
        row = i * stride_h + a * dilation_h - pad_h
        if row < 0 or row >= height:
            continue
        for b in range(0, kernel_w, run):
            column = j * stride_w + b * dilation_w - pad_w
            first, last = max(column, 0), min(column + run, width)
            if first < last:
                shift = (a * kernel_w + b - column) * channels
                start, stop = starts[row, first], starts[row, last]
                for k in range(start, stop, MOVED):
                    shift_16(listed, k, shift, window, count + k - start)
                count += stop - start
    return count
