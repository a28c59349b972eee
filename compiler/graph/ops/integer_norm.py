"""Normalisation of each row of integers, exact on every engine."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import EXACT_FLOAT64, check_accumulator
from spikeloom.compiler.graph.kinds import Type, current
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work, register


@register
@dataclass(frozen=True, eq=False)
class IntegerNorm(Op):
    """y = (x - m) / deviation over the last axis, in units of 2**-digits.

    m = (sum(x) + n >> 1) // n, or 0 if it is not centred; d = x - m ;
    r = floor(sqrt((sum(d**2) + added) * 4**EXTRA)), at least 1 ;
    y = (d * gain + r >> 1) // r with gain = floor(sqrt(n * 4**(digits + EXTRA))): all in integers.

    Attributes:
        digits: binary digits of the result behind the point.
        added: n times epsilon, in squares of the unit of x.
        centred: whether the mean is subtracted.

    >>> IntegerNorm(4, 1).evaluate(np.array([[0, 30, 0, -30]]))[0].tolist()
    [[0, 23, 0, -23]]
    """

    name: ClassVar[str] = "integer_norm"
    work: ClassVar[Work] = "host"

    digits: int
    added: int
    centred: bool = True

    EXTRA: ClassVar[int] = 4

    def gain(self, n: int) -> int:
        """What d is multiplied by in a row of n."""
        return isqrt(n << (2 * (self.digits + self.EXTRA)))

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Integers [..., n] to integers of the same shape, if every sum is exact in float64."""
        (x,) = inputs
        if not x.kind.is_integer or not x.shape or not 0 <= self.digits <= 16 or self.added < 1:
            raise RuleBrokenError(f"{x} cannot be normalised with {self.digits} digits")
        n, reach = x.shape[-1], 2 * max(map(abs, x.kind.bounds)) + 1
        squares = (n * reach**2 + self.added) << (2 * self.EXTRA)
        if max(squares, reach * self.gain(n)) >= EXACT_FLOAT64 // 4:
            raise RuleBrokenError(f"the squares of {x} are not exact in float64")
        limit = self.gain(n) // 2**self.EXTRA + 1
        check_accumulator(-limit, limit)
        return (Type(x.shape, current(-limit, limit)),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """Centre, take the root, divide; each rounded as said."""
        x = inputs[0].astype(np.int64)
        n = x.shape[-1]
        d = x - (x.sum(-1, keepdims=True) + n // 2) // n if self.centred else x
        squares = (np.square(d).sum(-1, keepdims=True) + self.added) << (2 * self.EXTRA)
        root = np.maximum(np.floor(np.sqrt(squares.astype(np.float64))).astype(np.int64), 1)
        limit = self.gain(n) // 2**self.EXTRA + 1
        return (np.clip((d * self.gain(n) + (root >> 1)) // root, -limit, limit),)

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element, whatever it is."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)
