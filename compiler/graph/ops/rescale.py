"""Integers brought to another unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import EXACT_FLOAT64, check_accumulator, is_integer
from spikeloom.compiler.graph.kinds import Type, current
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work, register

LARGEST_FACTOR = 2**15 - 1


@register
@dataclass(frozen=True, eq=False)
class Rescale(Op):
    """y = clip(((x * factor + half) >> shift) + offset, lo, hi): the nearest integer in another unit.

    half = 2**(shift - 1), and 0 without a shift; ``>>`` rounds down, so halves go up. It stands where
    values of different units are added, and between weights and weights with no neuron between them.

    Attributes:
        factor: integers of 16 bits that broadcast against the value, one per channel.
        shift: binary digits that are dropped.
        lo, hi: the range of the result; what is outside is clipped.
        offset: integers that broadcast against the value, in the unit of the result; may be absent.
    """

    name: ClassVar[str] = "rescale"
    work: ClassVar[Work] = "addition"

    factor: Array
    shift: int
    lo: int
    hi: int
    offset: Array | None = None

    @property
    def half(self) -> int:
        """What is added before the shift, so that it rounds to the nearest."""
        return (1 << self.shift) // 2

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Integers to integers of the same shape."""
        (x,) = inputs
        added = np.zeros((), np.int64) if self.offset is None else self.offset
        if not x.kind.is_integer or not is_integer(self.factor, added):
            raise RuleBrokenError(f"needs integers, not {x}")
        largest = int(np.abs(self.factor.astype(np.int64)).max())
        reach = max(map(abs, x.kind.bounds)) * largest + 2**self.shift
        if largest > LARGEST_FACTOR or not 0 <= self.shift < 52 or reach >= EXACT_FLOAT64 // 2:
            raise RuleBrokenError(f"{x} times {largest}, shifted by {self.shift}, is too wide")
        try:
            fits = np.broadcast_shapes(x.shape, self.factor.shape, added.shape) == x.shape
        except ValueError:
            fits = False
        if not fits or self.lo > self.hi:
            raise RuleBrokenError(f"factors {self.factor.shape} or range {self.lo}..{self.hi} do not fit {x}")
        check_accumulator(self.lo, self.hi)
        return (Type(x.shape, current(*self._reach(x.kind.bounds))),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """Multiply, round, clip."""
        product = inputs[0].astype(np.int64) * self.factor.astype(np.int64)
        moved = (product + self.half) >> self.shift
        return (np.clip(moved if self.offset is None else moved + self.offset, self.lo, self.hi),)

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element is rescaled in every step."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)

    def _reach(self, bounds: tuple[int, int]) -> tuple[int, int]:
        added = (0, 0) if self.offset is None else (int(self.offset.min()), int(self.offset.max()))
        corners = [
            (bound * int(factor) + self.half) >> self.shift
            for bound in bounds
            for factor in (self.factor.min(), self.factor.max())
        ]
        ends = (min(corners) + added[0], max(corners) + added[1])
        low, high = (int(np.clip(end, self.lo, self.hi)) for end in ends)
        return low, high
