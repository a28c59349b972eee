"""Numbers kept within limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work, register


@register
@dataclass(frozen=True, eq=False)
class Clip(Op):
    """y = min(max(x, lo), hi). Float only: in an integer graph it is a part of a ``rescale``.

    Attributes:
        lo, hi: the least and the largest number; infinite where there is no limit.

    >>> Clip(0, 6).evaluate(np.array([[-1.0, 7.0]]))
    (array([[0., 6.]]),)
    """

    name: ClassVar[str] = "clip"
    work: ClassVar[Work] = "host"

    lo: float
    hi: float

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any value to a real value of its shape."""
        if not self.lo <= self.hi:
            raise RuleBrokenError(f"nothing is within {self.lo}..{self.hi}")
        return (Type(inputs[0].shape, REAL),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """Compute in float64."""
        return (np.clip(inputs[0].astype(np.float64), self.lo, self.hi),)

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element, whatever it is."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)
