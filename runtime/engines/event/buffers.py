"""Memory for the values of a plan: taken, given back, and taken again for a later value.

A network of many layers so needs the memory of its widest place and not of all its values, and what is
written has mostly been in the cache a moment ago.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from spikeloom.compiler.graph.op import Array

_ALIGNMENT = 64
_WASTE = 4  # a block may be this many times larger than what is asked for


class Buffers:
    """Hands out blocks of memory.

    >>> buffers = Buffers()
    >>> first = buffers.take((2, 3), np.int32)
    >>> buffers.give_back(first)
    >>> np.shares_memory(buffers.take((6,), np.int32), first)
    True
    """

    def __init__(self) -> None:
        self._free: list[Array] = []

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """An array in row-major order, whose content is anything."""
        size = max(1, prod(shape)) * np.dtype(dtype).itemsize
        fitting = [block for block in self._free if size <= block.nbytes - _ALIGNMENT <= _WASTE * size]
        if fitting:
            block = min(fitting, key=lambda candidate: candidate.nbytes)
            self._free = [other for other in self._free if other is not block]
        else:
            block = np.empty(size + _ALIGNMENT, np.uint8)
        start = -block.ctypes.data % _ALIGNMENT
        return block[start : start + prod(shape) * np.dtype(dtype).itemsize].view(dtype).reshape(shape)

    def give_back(self, array: Array) -> None:
        """Let the block of an array, or of a view of it, be taken again."""
        self._free.append(block_of(array))


def block_of(array: Any) -> Array:
    """The block that an array is a view of.

    >>> whole = np.zeros(4)
    >>> block_of(whole[1:].reshape(3, 1)) is whole
    True
    """
    block = array
    while block.base is not None:
        block = block.base
    found: Array = block
    return found
