"""Sum over axes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import check_accumulator, count_pairs
from spikeloom.compiler.graph.kinds import Kind, Type, sums
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work, register


@register
@dataclass(frozen=True, eq=False)
class ReduceSum(Op):
    """The sum over the given axes, which disappear.

    Attributes:
        axes: counted from the front of the value's shape.
    """

    name: ClassVar[str] = "reduce_sum"
    work: ClassVar[Work] = "addition"

    axes: tuple[int, ...]

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """The shape without the axes; bounds grow with the number of terms."""
        (x,) = inputs
        if not self.axes or any(not 0 <= axis < len(x.shape) for axis in self.axes):
            raise RuleBrokenError(f"{x} has no axes {self.axes}")
        shape = tuple(n for i, n in enumerate(x.shape) if i not in self.axes)
        if not x.kind.is_integer:
            return (Type(shape, x.kind),)
        terms = prod(x.shape[axis] for axis in self.axes)
        low, high = (bound * terms for bound in x.kind.bounds)
        check_accumulator(low, high)
        weighted = x.kind.name == "current"
        return (Type(shape, Kind("current", low, high) if weighted else sums(low, high)),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The sum."""
        return (inputs[0].sum(tuple(axis + 1 for axis in self.axes)),)

    def dense_operations(self, *inputs: Type) -> int:
        """One addition per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Additions of something that is not zero, per sample."""
        return count_pairs(inputs[0] != 0)
