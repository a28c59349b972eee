"""Linear map of the last axis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import (
    check_accumulator,
    count_pairs,
    exactly,
    is_integer,
    weighted_bounds,
)
from spikeloom.compiler.graph.kinds import REAL, Type, current
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work, register


@register
@dataclass(frozen=True, eq=False)
class Linear(Op):
    """y[..., o] = bias[o] + sum over i of weight[o, i] * x[..., i], as PyTorch's ``nn.Linear``.

    Attributes:
        weight: [outputs, inputs], float or signed integer.
        bias: [outputs] in the units of the sum, or None.

    >>> layer = Linear(np.array([[2, -1]], np.int8), np.array([3]))
    >>> layer.evaluate(np.array([[1, 1]]))[0]
    array([[4]])
    """

    name: ClassVar[str] = "linear"
    work: ClassVar[Work] = "synaptic"

    weight: Array
    bias: Array | None = None

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """[..., inputs] to [..., outputs]; real, or current with proven bounds."""
        (x,) = inputs
        if not x.shape or x.shape[-1] != self.weight.shape[1]:
            raise RuleBrokenError(f"needs {self.weight.shape[1]} inputs on the last axis, not {x}")
        shape = (*x.shape[:-1], len(self.weight))
        if not is_integer(self.weight) or not x.kind.is_integer:
            return (Type(shape, REAL),)
        low, high = weighted_bounds(self.weight, *x.kind.bounds, self.bias)
        check_accumulator(int(low.min()), int(high.max()))
        return (Type(shape, current(int(low.min()), int(high.max()))),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The linear map, exact for integers."""
        y = exactly(np.matmul, inputs[0], self.weight.T)
        return (y if self.bias is None else y + self.bias,)

    def dense_operations(self, *inputs: Type) -> int:
        """Inputs times outputs, for every row."""
        return inputs[0].size * len(self.weight)

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Pairs of a non-zero input and a non-zero weight, per sample."""
        counting = replace(self, weight=(self.weight != 0).astype(np.float64), bias=None)
        (count,) = counting.evaluate((inputs[0] != 0).astype(np.float64))
        return count_pairs(count)
