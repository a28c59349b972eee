"""A value divided by another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import EXACT_FLOAT64, broadcast_type, check_accumulator
from spikeloom.compiler.graph.kinds import REAL, Type, current
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work, register


@register
@dataclass(frozen=True, eq=False)
class Divide(Op):
    """y = a / b. In integers y = clip((a * 2**shift + b >> 1) // b, -limit, limit), with b at least 1.

    The quotient is rounded to the nearest, halves up; ``//`` rounds down. Axes of one element repeat.

    Attributes:
        shift: binary digits that an integer quotient has more; 0 in a float graph.
        limit: the largest magnitude of an integer quotient; 0 in a float graph.

    >>> Divide(1, 100).evaluate(np.array([[7, -7]]), np.array([[4, 0]]))
    (array([[  4, -14]]),)
    """

    name: ClassVar[str] = "divide"
    work: ClassVar[Work] = "host"

    shift: int = 0
    limit: int = 0

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Real, or integers within the limit, if the dividend is exact in float64."""
        a, b = inputs
        shape = broadcast_type(a, b)
        if not a.kind.is_integer or not b.kind.is_integer or self.limit == 0:
            return (Type(shape, REAL),)
        reach = (max(map(abs, a.kind.bounds)) << self.shift) + max(map(abs, b.kind.bounds))
        if self.shift < 0 or self.limit < 1 or reach >= EXACT_FLOAT64 // 2:
            raise RuleBrokenError(f"a dividend up to {reach}, shifted by {self.shift}, is not exact")
        check_accumulator(-self.limit, self.limit)
        return (Type(shape, current(-self.limit, self.limit)),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """Divide, and round."""
        a, b = inputs
        if self.limit == 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                return (a / b,)
        divisor = np.maximum(b.astype(np.int64), 1)
        quotient = ((a.astype(np.int64) << self.shift) + (divisor >> 1)) // divisor
        return (np.clip(quotient, -self.limit, self.limit),)

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return max(x.size for x in inputs)

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element, whatever it is."""
        return np.full(len(inputs[0]), max(x[0].size for x in inputs), np.int64)
