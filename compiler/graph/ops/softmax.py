"""Shares that add up to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work, register


@register
@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """y = exp(x - max(x)) / sum(exp(x - max(x))) along an axis. Float only.

    An integer graph takes it apart: a maximum, a table of exponentials, a sum and a division.

    Attributes:
        axis: counted from the front of the value's shape.
        kept: booleans that broadcast against the value: what is False has no share; None keeps all.
    """

    name: ClassVar[str] = "softmax"
    work: ClassVar[Work] = "host"

    axis: int
    kept: Array | None = None

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any value to a real value of its shape."""
        (x,) = inputs
        if not 0 <= self.axis < len(x.shape):
            raise RuleBrokenError(f"{x} has no axis {self.axis}")
        if self.kept is not None:
            sizes = zip(reversed(self.kept.shape), reversed(x.shape), strict=False)
            if self.kept.ndim > len(x.shape) or any(have not in (1, want) for have, want in sizes):
                raise RuleBrokenError(f"a mask {self.kept.shape} does not broadcast against {x}")
        return (Type(x.shape, REAL),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """Compute in float64."""
        x = inputs[0].astype(np.float64)
        x = x if self.kept is None else np.where(self.kept, x, -np.inf)
        e = np.exp(x - x.max(self.axis + 1, keepdims=True))
        return (e / e.sum(self.axis + 1, keepdims=True),)

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element, whatever it is."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)
