"""Product of two values, element by element: a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import broadcast_type, check_accumulator, count_pairs
from spikeloom.compiler.graph.kinds import REAL, SPIKES, Kind, Type, sums
from spikeloom.compiler.graph.op import Array, Op, Work, register


@register
@dataclass(frozen=True, eq=False)
class Mul(Op):
    """y = a * b; axes of one element are repeated along those of the other operand.

    With spikes it is an AND: the masks of spike-driven self-attention (q and the fired sums of k v) and
    of QK attention.
    """

    name: ClassVar[str] = "mul"
    work: ClassVar[Work] = "product"

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Two values of as many axes to their product; spikes stay spikes."""
        a, b = inputs
        shape = broadcast_type(a, b)
        if not (a.kind.is_integer and b.kind.is_integer):
            return (Type(shape, REAL),)
        if a.kind == b.kind == SPIKES:
            return (Type(shape, SPIKES),)
        corners = [x * y for x in a.kind.bounds for y in b.kind.bounds]
        low, high = min(corners), max(corners)
        check_accumulator(low, high)
        weighted = "current" in (a.kind.name, b.kind.name)
        return (Type(shape, Kind("current", low, high) if weighted else sums(low, high)),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The product."""
        return (inputs[0] * inputs[1],)

    def dense_operations(self, *inputs: Type) -> int:
        """One product per element of the result."""
        return Type(broadcast_type(*inputs), REAL).size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Pairs of two non-zero operands, per sample."""
        return count_pairs((inputs[0] != 0) & (inputs[1] != 0))
