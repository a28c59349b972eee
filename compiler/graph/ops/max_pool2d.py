"""Largest value in a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.arithmetic import convolution_size, is_integer, windows
from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class MaxPool2d(Op):
    """y[c, p] = the largest x[c, p * stride + k - padding]; padding never wins. OR on spikes.

    Attributes:
        kernel, stride, padding: (height, width).
    """

    name: ClassVar[str] = "max_pool2d"

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] = (0, 0)

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """[channels, height, width] to fewer positions of the same kind."""
        (x,) = inputs
        if len(x.shape) != 3:
            raise RuleBrokenError(f"needs [channels, height, width], not {x}")
        if any(2 * p > k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise RuleBrokenError(f"padding {self.padding} is more than half of the window {self.kernel}")
        geometry = zip(x.shape[1:], self.kernel, self.stride, self.padding, strict=True)
        return (Type((x.shape[0], *(convolution_size(*axis) for axis in geometry)), x.kind),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The maximum over each window."""
        (x,) = inputs
        lowest = np.iinfo(x.dtype).min if is_integer(x) else -np.inf
        pads = ((0, 0), (0, 0), *((p, p) for p in self.padding))
        view = windows(np.pad(x, pads, constant_values=lowest), self.kernel, self.stride, (1, 1))
        return (view.max((-2, -1)),)
