"""Sum of two values: a residual connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import broadcast_type, check_accumulator, count_pairs
from spikeloom.compiler.graph.kinds import REAL, Kind, Type, sums
from spikeloom.compiler.graph.op import Array, Op, Work, register


@register
@dataclass(frozen=True, eq=False)
class Add(Op):
    """y = a + b, element by element. Spikes add up to small integers, exactly.

    Axes of one element are repeated along those of the other operand.
    """

    name: ClassVar[str] = "add"
    work: ClassVar[Work] = "addition"

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Two values of as many axes to their sum; currents stay currents."""
        a, b = inputs
        shape = broadcast_type(a, b)
        if not (a.kind.is_integer and b.kind.is_integer):
            return (Type(shape, REAL),)
        low, high = (x + y for x, y in zip(a.kind.bounds, b.kind.bounds, strict=True))
        check_accumulator(low, high)
        weighted = "current" in (a.kind.name, b.kind.name)
        return (Type(shape, Kind("current", low, high) if weighted else sums(low, high)),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The sum."""
        return (inputs[0] + inputs[1],)

    def dense_operations(self, *inputs: Type) -> int:
        """One addition per element."""
        return Type(broadcast_type(*inputs), REAL).size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Additions of something that is not zero, per sample."""
        return count_pairs((inputs[0] != 0) | (inputs[1] != 0))
