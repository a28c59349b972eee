"""Event-driven products: rows of the weights are added where the input is not zero.

Sums are kept in 16 bits as long as they cannot overflow, 255 rows of 8-bit weights, since twice as many of
them fit a vector register. A graded input of k counts as k inputs of one.
"""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.engines.event.kernels.jit import compiled

_ROWS = 248  # a multiple of 8 below 256: 255 * 128 is the last sum that fits 16 bits


@compiled
def _add_rows(weight: Array, rows: Array, count: int, partial: Array, total: Array) -> None:
    """total[:] = the sum of weight[r, :] over the first ``count`` of ``rows``."""
    outputs = total.shape[0]
    for j in range(outputs):
        total[j] = 0
    for start in range(0, count, _ROWS):
        stop = min(start + _ROWS, count)
        for j in range(outputs):
            partial[j] = 0
        k = start
        while k + 8 <= stop:
            a, b, c, d = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
            e, f, g, h = rows[k + 4], rows[k + 5], rows[k + 6], rows[k + 7]
            for j in range(outputs):
                first = weight[a, j] + weight[b, j] + weight[c, j] + weight[d, j]
                second = weight[e, j] + weight[f, j] + weight[g, j] + weight[h, j]
                partial[j] = np.int16(partial[j] + first + second)
            k += 8
        while k < stop:
            a = rows[k]
            for j in range(outputs):
                partial[j] = np.int16(partial[j] + weight[a, j])
            k += 1
        for j in range(outputs):
            total[j] += partial[j]


@compiled
def _active(x: Array, rows: Array, highest: int) -> int:
    """Write the places of what is not zero to ``rows``, k times for k; returns how many."""
    count = 0
    if highest == 1:
        for k in range(x.shape[0]):
            rows[count] = k
            count += x[k]
        return count
    for k in range(x.shape[0]):
        for _ in range(x[k]):
            rows[count] = k
            count += 1
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
    x: Array, weight: Array, highest: int, limit: float, rows: Array, partial: Array, y: Array
) -> bool:
    """Write x @ weight to y; False, and nothing done, if more than ``limit`` of x is not zero.

    x is uint8 [rows, inputs] of 0..highest, weight int8 [inputs, outputs], y int32 [rows, outputs]; ``rows``
    is room for inputs * highest + 1 numbers and ``partial`` for int16 [outputs].
    """
    if limit < 1 and active_share(x) > limit:
        return False
    for m in range(x.shape[0]):
        _add_rows(weight, rows, _active(x[m], rows, highest), partial, y[m])
    return True


@compiled
def gather_windows(
    x: Array,
    weight: Array,
    geometry: Array,
    highest: int,
    limit: float,
    places: Array,
    counts: Array,
    rows: Array,
    partial: Array,
    y: Array,
) -> bool:
    """A convolution of two axes from the inputs that are not zero; False if more than ``limit`` of x is not.

    x is uint8 [images, height, width, channels] of 0..highest, weight int8 [taps * channels, outputs], y
    int32 [images, height out, width out, outputs]. ``geometry`` holds kernel, stride, padding and dilation,
    each for height and width. The rest is room: [height * width, channels * highest + 1] and
    [height * width] for the places of a picture, taps * channels * highest + 1 for those of a window, and
    int16 [outputs].
    """
    images, height, width, channels = x.shape
    if limit < 1 and active_share(x.reshape(images * height * width, channels)) > limit:
        return False
    kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w = geometry
    for n in range(images):
        for i in range(height):
            for j in range(width):
                counts[i * width + j] = _active(x[n, i, j], places[i * width + j], highest)
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                count = 0
                for a in range(kernel_h):
                    row = i * stride_h + a * dilation_h - pad_h
                    if row < 0 or row >= height:
                        continue
                    for b in range(kernel_w):
                        column = j * stride_w + b * dilation_w - pad_w
                        if column < 0 or column >= width:
                            continue
                        at, first = row * width + column, (a * kernel_w + b) * channels
                        for k in range(counts[at]):
                            rows[count + k] = places[at, k] + first
                        count += counts[at]
                _add_rows(weight, rows, count, partial, y[n, i, j])
    return True
