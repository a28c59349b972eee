"""In which order the axes of a value lie in memory, read from its strides.

A transposition of the graph moves nothing here: it makes another view. A convolution writes its channels
last, and what follows goes on in that order, until an operation insists on another.
"""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.op import Array

LEAD = 2  # steps and samples


def memory_axes(x: Array) -> tuple[int, ...]:
    """The axes after steps and samples from the slowest to the fastest in memory.

    >>> memory_axes(np.zeros((1, 1, 4, 5, 3)).transpose(0, 1, 4, 2, 3))
    (1, 2, 0)
    """
    axes = range(x.ndim - LEAD)
    return tuple(sorted(axes, key=lambda axis: (-abs(x.strides[LEAD + axis]), axis)))


def arranged(x: Array, axes: tuple[int, ...]) -> Array:
    """The view of a value [steps, samples, ...] whose other axes stand in the given order."""
    return x.transpose(0, 1, *(LEAD + axis for axis in axes))


def restored(x: Array, axes: tuple[int, ...]) -> Array:
    """The inverse of :func:`arranged`.

    >>> x = np.zeros((1, 2, 3, 4, 5))
    >>> restored(arranged(x, (2, 0, 1)), (2, 0, 1)).shape
    (1, 2, 3, 4, 5)
    """
    return arranged(x, tuple(int(axis) for axis in np.argsort(axes)))


def split_rows(shape: tuple[int, ...], *parameters: Array) -> tuple[int, int]:
    """How a shape in memory splits into (rows, columns) such that parameters differ by column only.

    Few columns make slow loops: rows are joined to columns then, if they divide well.

    >>> split_rows((8, 8, 384), np.zeros((1, 1, 384)))
    (64, 384)
    >>> split_rows((16, 100), np.zeros((16, 1)))
    (1, 1600)
    """
    cut = 0
    while cut < len(shape) and all(parameter.shape[cut] == 1 for parameter in parameters):
        cut += 1
    columns = int(np.prod(shape[cut:], dtype=np.int64))
    while cut and columns < _COLUMNS:
        cut -= 1
        columns *= shape[cut]
    return int(np.prod(shape[:cut], dtype=np.int64)), columns


_COLUMNS = 64


def spread(parameter: Array, shape: tuple[int, ...], axes: tuple[int, ...], columns: int) -> Array:
    """A parameter that broadcasts against a value of a shape, as [1, columns] of its order in memory."""
    full = parameter.reshape((1,) * (len(shape) - parameter.ndim) + parameter.shape).transpose(axes)
    in_memory = tuple(shape[axis] for axis in axes)
    flat = np.broadcast_to(full, in_memory).reshape(-1, columns)
    return np.ascontiguousarray(flat[:1])
