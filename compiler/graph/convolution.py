"""What the convolutions of one and two axes share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import (
    check_accumulator,
    convolution_size,
    count_pairs,
    exactly,
    is_integer,
    weighted_bounds,
    windows,
)
from spikeloom.compiler.graph.kinds import REAL, Type, current
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work


@dataclass(frozen=True, eq=False)
class Convolution(Op):
    """A cross-correlation over the trailing axes, as PyTorch's ``nn.ConvNd``.

    y[o, p] = bias[o] + sum over i, k of weight[o, i, k] * x[i, p * stride + k * dilation - padding]

    Attributes:
        weight: [out channels, in channels / groups, *kernel], float or signed integer.
        bias: [out channels] in the units of the sum, or None.
        stride, padding, dilation: one number per trailing axis.
        groups: channels are split into this many independent groups.
    """

    axes: ClassVar[int]
    work: ClassVar[Work] = "synaptic"

    weight: Array
    bias: Array | None = None
    stride: tuple[int, ...] = (1,)
    padding: tuple[int, ...] = (0,)
    dilation: tuple[int, ...] = (1,)
    groups: int = 1

    @property
    def kernel(self) -> tuple[int, ...]:
        """Size of the kernel along each trailing axis."""
        return self.weight.shape[2:]

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """[in channels, *axes] to [out channels, *positions]; real, or current with proven bounds."""
        (x,) = inputs
        if len(x.shape) != self.axes + 1 or x.shape[0] != self.weight.shape[1] * self.groups:
            raise RuleBrokenError(
                f"needs [{self.weight.shape[1] * self.groups}] channels and {self.axes} axes, not {x}"
            )
        geometry = zip(x.shape[1:], self.kernel, self.stride, self.padding, self.dilation, strict=True)
        shape = (len(self.weight), *(convolution_size(*axis) for axis in geometry))
        if not is_integer(self.weight) or not x.kind.is_integer:
            return (Type(shape, REAL),)
        lo, hi = x.kind.bounds
        reach = (min(lo, 0), max(hi, 0)) if any(self.padding) else (lo, hi)
        low, high = weighted_bounds(self.weight, *reach, self.bias)
        check_accumulator(int(low.min()), int(high.max()))
        return (Type(shape, current(int(low.min()), int(high.max()))),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The convolution, exact for integers."""
        (x,) = inputs
        y = exactly(self._convolve, x, self.weight)
        if self.bias is not None:
            y = y + self.bias.reshape(-1, *(1,) * self.axes)
        return (y,)

    def dense_operations(self, *inputs: Type) -> int:
        """Multiplications that meet an input (padding is not counted)."""
        ones = np.ones((1, *inputs[0].shape))
        return int(self.operations(ones)[0]) if self.weight.all() else int(self._dense().operations(ones)[0])

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Pairs of a non-zero input and a non-zero weight, per sample."""
        counting = replace(self, weight=(self.weight != 0).astype(np.float64), bias=None)
        (count,) = counting.evaluate((inputs[0] != 0).astype(np.float64))
        return count_pairs(count)

    def _dense(self) -> Convolution:
        return replace(self, weight=np.ones(self.weight.shape), bias=None)

    def columns(self, x: Array) -> Array:
        """What the weights of a channel multiply: [groups, samples * positions, inputs of a channel]."""
        columns, _ = self._columns(x)
        return columns.swapaxes(0, 1).reshape(self.groups, -1, columns.shape[-1])

    def _columns(self, x: Array) -> tuple[Array, tuple[int, ...]]:
        """Inputs [samples, groups, positions, inputs of a channel], and the positions' axes."""
        pads = ((0, 0), (0, 0), *((p, p) for p in self.padding))
        view = windows(np.pad(x, pads), self.kernel, self.stride, self.dilation)
        positions = view.shape[2 : 2 + self.axes]
        grouped = view.reshape(len(x), self.groups, -1, *positions, *self.kernel)
        order = (0, 1, *range(3, 3 + self.axes), 2, *range(3 + self.axes, 3 + 2 * self.axes))
        return grouped.transpose(order).reshape(len(x), self.groups, int(np.prod(positions)), -1), positions

    def _convolve(self, x: Array, weight: Array) -> Array:
        columns, positions = self._columns(x)
        rows = weight.reshape(self.groups, -1, columns.shape[-1])
        y = np.matmul(rows[None], columns.swapaxes(-1, -2))
        result: Array = y.reshape(len(x), -1, *positions)
        return result
