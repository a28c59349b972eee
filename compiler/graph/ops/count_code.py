"""Spike counts of real numbers: a graded spike, of either sign, for each multiple of a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import EXACT_FLOAT64, broadcast_type
from spikeloom.compiler.graph.kinds import Type, sums
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register

MOST_LEVELS = 127
"""A count is a signed byte."""


@register
@dataclass(frozen=True, eq=False)
class CountCode(StatefulOp):
    """n = clip(round(x / threshold), -levels, levels), halves to the even neighbour; nothing is remembered.

    The threshold is a value of the graph: of each token (W8ASpike of SpikingBrain: the mean magnitude of its
    features over a constant), or of all. A count n stands for |n| spikes of the sign of n; how they
    are spread over finer time steps (one by one, or as bits) does not change sums of them. In integers
    n = clip(round(x * 2**shift / max(threshold, 1)), -levels, levels), exact in float64: a quotient of
    integers below 2**26 that is not a tie is further from one than its rounding error.

    Attributes:
        levels: the largest magnitude of a count.
        shift: binary digits by which the unit of the threshold is finer than that of x; 0 in a float graph.

    >>> CountCode(3).step((np.array([[5.0, -1.0, 0.2]]), np.array([[2.0]])), {})[0]
    (array([[ 2., -0.,  0.]]),)
    """

    name: ClassVar[str] = "count_code"
    work: ClassVar[Work] = "update"

    levels: int
    shift: int = 0

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Values and thresholds that broadcast against them to signed counts, of the shape of the values."""
        x, threshold = inputs
        shape = broadcast_type(x, threshold)
        if shape != x.shape or not 1 <= self.levels <= MOST_LEVELS or self.shift < 0:
            raise RuleBrokenError(f"{self.levels} levels of {x} by thresholds {threshold}")
        if x.kind.is_integer and threshold.kind.is_integer:
            reach = max(map(abs, x.kind.bounds)) << self.shift
            if max(reach, *map(abs, threshold.kind.bounds)) ** 2 >= EXACT_FLOAT64 // 2:
                raise RuleBrokenError(f"a quotient of {x} and {threshold} is not exact in float64")
        return (Type(shape, sums(-self.levels, self.levels)),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """None."""
        return {}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Divide, round, clip."""
        x, threshold = inputs
        if np.issubdtype(x.dtype, np.integer):
            quotient = np.rint((x.astype(np.int64) << self.shift) / np.maximum(threshold, 1))
            return (np.clip(quotient, -self.levels, self.levels).astype(np.int64),), {}
        return (np.clip(np.rint(x / threshold), -self.levels, self.levels),), {}

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element, whatever it is."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)
