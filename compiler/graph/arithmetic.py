"""Exact integer arithmetic with the speed of floating point, shared by the operations.

NumPy multiplies integer matrices with a plain loop; in float64 it uses BLAS, some 90 times
faster. The result is exact where every partial sum stays below 2**53, which the type rules prove.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, RuleBrokenError

EXACT_FLOAT64 = 2**53
ACCUMULATOR = 2**31


def is_integer(*arrays: Array) -> bool:
    """Whether all arrays hold integers."""
    return all(np.issubdtype(array.dtype, np.integer) for array in arrays)


def exactly(compute: Callable[..., Array], *arrays: Array) -> Array:
    """Run a sum of products in float64; return int64 if all arrays are integers.

    >>> exactly(np.matmul, np.array([[1, 2]]), np.array([[3], [4]]))
    array([[11]])
    """
    with _one_thread():
        if not is_integer(*arrays):
            return compute(*arrays)
        total: Array = compute(*(array.astype(np.float64) for array in arrays)).astype(np.int64)
    return total


def _one_thread() -> AbstractContextManager[object]:
    """BLAS on one thread: for batches of small matrices, waking others costs ten times the product."""
    limit: AbstractContextManager[object] = _blas().limit(limits=1)
    return limit


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def count_pairs(pairs: Array) -> NDArray[np.int64]:
    """Sum float counts [batch, ...] over everything but the batch."""
    totals: NDArray[np.int64] = np.rint(pairs.reshape(len(pairs), -1).sum(1)).astype(np.int64)
    return totals


def divide_toward_zero(numerator: Array, denominator: int) -> Array:
    """Integer division that drops the fraction, as the chips do.

    >>> divide_toward_zero(np.array([-3, 3]), 2)
    array([-1,  1])
    """
    quotient: Array = np.sign(numerator) * (np.abs(numerator) // denominator)
    return quotient


def weighted_bounds(weight: Array, lo: int, hi: int, bias: Array | None) -> tuple[Array, Array]:
    """Smallest and largest sum [outputs] of weight [outputs, ...] times inputs within lo..hi.

    Raises:
        RuleBrokenError: the bias is not [outputs] integers.
    """
    if bias is not None and not (is_integer(bias) and bias.shape == weight.shape[:1]):
        raise RuleBrokenError(
            f"integer weights need {len(weight)} integers as bias, not {bias.dtype}{bias.shape}"
        )
    rows = weight.reshape(len(weight), -1).astype(np.int64)
    low = np.minimum(rows * lo, rows * hi).sum(1)
    high = np.maximum(rows * lo, rows * hi).sum(1)
    if bias is not None:
        low, high = low + bias.astype(np.int64), high + bias.astype(np.int64)
    return low, high


def broadcast_type(a: Type, b: Type) -> tuple[int, ...]:
    """The shape of an operation on two values, element by element; axes of one element are repeated.

    Raises:
        RuleBrokenError: they have not as many axes, or an axis differs.
    """
    pairs = list(zip(a.shape, b.shape, strict=False))
    if len(a.shape) != len(b.shape) or any(x != y and 1 not in (x, y) for x, y in pairs):
        raise RuleBrokenError(f"{a} and {b} have different shapes")
    return tuple(max(pair) for pair in pairs)


def check_accumulator(low: int, high: int) -> None:
    """Refuse a sum that a 32-bit accumulator could not hold.

    Raises:
        RuleBrokenError: the interval reaches outside int32.
    """
    if low < -ACCUMULATOR or high >= ACCUMULATOR:
        raise RuleBrokenError(f"sums within {low}..{high} do not fit a 32-bit accumulator")


def convolution_size(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Length of one axis after a convolution or pooling window.

    Raises:
        RuleBrokenError: the window is larger than the padded axis.

    >>> convolution_size(34, 3, 2, 1)
    17
    """
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    if span < 0:
        raise RuleBrokenError(f"a window of {kernel} is larger than an axis of {size} padded by {padding}")
    return span // stride + 1


def windows(x: Array, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Array:
    """View the trailing axes of ``x`` as windows: [..., *positions, *kernel]."""
    axes = tuple(range(x.ndim - len(kernel), x.ndim))
    span = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    view = sliding_window_view(x, span, axes)
    every = (slice(None),) * (x.ndim - len(kernel))
    steps = tuple(slice(None, None, s) for s in (*stride, *dilation))
    return view[every + steps]
