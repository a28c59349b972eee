"""Mean of a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.arithmetic import convolution_size, windows
from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class AvgPool2d(Op):
    """y[c, p] = the mean of x[c, p * stride + k - padding]. Float only: an integer graph sums.

    Attributes:
        kernel, stride, padding: (height, width).
        count_include_pad: whether the zeros of the padding are counted.
    """

    name: ClassVar[str] = "avg_pool2d"

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] = (0, 0)
    count_include_pad: bool = True

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """[channels, height, width] to fewer positions."""
        (x,) = inputs
        if len(x.shape) != 3:
            raise RuleBrokenError(f"needs [channels, height, width], not {x}")
        geometry = zip(x.shape[1:], self.kernel, self.stride, self.padding, strict=True)
        return (Type((x.shape[0], *(convolution_size(*axis) for axis in geometry)), REAL),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The mean over each window."""
        total = self._sums(inputs[0])
        if self.count_include_pad:
            return (total / np.prod(self.kernel),)
        return (total / self._sums(np.ones_like(inputs[0])),)

    def _sums(self, x: Array) -> Array:
        pads = ((0, 0), (0, 0), *((p, p) for p in self.padding))
        total: Array = windows(np.pad(x, pads), self.kernel, self.stride, (1, 1)).sum((-2, -1))
        return total
