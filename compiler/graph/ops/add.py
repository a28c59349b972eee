"""Sum of two values: a residual connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import check_accumulator, count_pairs
from spikeloom.compiler.graph.kinds import REAL, Kind, Type, sums
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work, register


@register
@dataclass(frozen=True, eq=False)
class Add(Op):
    """y = a + b, element by element. Spikes add up to small integers, exactly."""

    name: ClassVar[str] = "add"
    work: ClassVar[Work] = "addition"

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Two values of one shape to their sum; currents stay currents."""
        a, b = inputs
        if a.shape != b.shape:
            raise RuleBrokenError(f"{a} and {b} have different shapes")
        if not (a.kind.is_integer and b.kind.is_integer):
            return (Type(a.shape, REAL),)
        low, high = (x + y for x, y in zip(a.kind.bounds, b.kind.bounds, strict=True))
        check_accumulator(low, high)
        weighted = "current" in (a.kind.name, b.kind.name)
        return (Type(a.shape, Kind("current", low, high) if weighted else sums(low, high)),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The sum."""
        return (inputs[0] + inputs[1],)

    def dense_operations(self, *inputs: Type) -> int:
        """One addition per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Additions of something that is not zero, per sample."""
        return count_pairs((inputs[0] != 0) | (inputs[1] != 0))
