"""The largest element along one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work, register


@register
@dataclass(frozen=True, eq=False)
class ReduceMax(Op):
    """y = max(x) along an axis, which stays with one element.

    Attributes:
        axis: counted from the front of the value's shape.
    """

    name: ClassVar[str] = "reduce_max"
    work: ClassVar[Work] = "host"

    axis: int

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """The same kind, the axis of one element."""
        (x,) = inputs
        if not 0 <= self.axis < len(x.shape):
            raise RuleBrokenError(f"{x} has no axis {self.axis}")
        return (Type(tuple(1 if i == self.axis else n for i, n in enumerate(x.shape)), x.kind),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """Reduce."""
        return (inputs[0].max(self.axis + 1, keepdims=True),)

    def dense_operations(self, *inputs: Type) -> int:
        """One comparison per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element, whatever it is."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)
