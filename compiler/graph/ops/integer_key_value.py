"""The recurrence of RWKV in integers, exact on every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import is_integer
from spikeloom.compiler.graph.kinds import Type, current
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register

SHARE_BITS = 14
"""Shares of weights are integers from 0 to 2**SHARE_BITS."""
VALUE_LIMIT = 2**15 - 1
WEIGHT_LIMIT = 2**24
"""Logarithms of weights stay within it."""


@register
@dataclass(frozen=True, eq=False)
class IntegerKeyValue(StatefulOp):
    """A mean m of values and the logarithm l of its weight, instead of two sums that would overflow.

    o = m + ((v - m) share[k + bonus - l] + half) >> SHARE_BITS ;  l' = l + decay, d = k - l' ;
    m <- m + ((v - m) share[d] + half) >> SHARE_BITS ;
    l <- max(l', k) + growth[|d|], within +-WEIGHT_LIMIT.
    share is the logistic function, growth is log(1 + exp(-|d|)), both looked up after d is clipped to
    the table. It is :class:`WeightedKeyValue` with A = exp(l) m and B = exp(l).

    Attributes:
        decay, bonus: integers [n] in the unit of the keys.
        share: table of 2 reach + 1 integers, for d from -reach to reach.
        growth: table of reach + 1 integers, for distances from 0 to reach.

    >>> op = IntegerKeyValue(np.array([-1]), np.array([0]), np.array([0, 2**13, 2**14]), np.array([1, 0]))
    >>> start = {name: array[None] for name, array in op.initial(*[Type((1,), current(-9, 9))] * 2).items()}
    >>> (first,), state = op.step((np.array([[0]]), np.array([[8]])), start)
    >>> (second,), _ = op.step((np.array([[0]]), np.array([[4]])), state)
    >>> first.tolist(), second.tolist()
    ([[8]], [[6]])
    """

    name: ClassVar[str] = "integer_key_value"
    work: ClassVar[Work] = "host"

    decay: Array
    bonus: Array
    share: Array
    growth: Array

    @property
    def reach(self) -> int:
        """The last entry of a table."""
        return len(self.share) // 2

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Keys and values [..., n] to means within the range of the values."""
        k, v = inputs
        whole = k.kind.is_integer and v.kind.is_integer and is_integer(self.decay, self.bonus)
        tables = self.share.shape == (2 * self.reach + 1,) and self.growth.shape == (self.reach + 1,)
        fits = k.shape == v.shape and self.decay.shape == self.bonus.shape == k.shape[-1:]
        if not (whole and tables and fits and is_integer(self.share, self.growth)):
            raise RuleBrokenError(f"keys {k} and values {v} do not fit decays {self.decay.shape}")
        low, high = v.kind.bounds
        wide = max(map(abs, (*k.kind.bounds, *self._ends(self.bonus), *self._ends(self.decay))))
        if max(-low, high) > VALUE_LIMIT or wide >= WEIGHT_LIMIT:
            raise RuleBrokenError(f"keys {k} or values {v} are too wide")
        if self.share.min() < 0 or self.share.max() > 2**SHARE_BITS or self.growth.min() < 0:
            raise RuleBrokenError("shares or growths are out of range")
        return (Type(k.shape, current(min(0, low), max(0, high))),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """The mean, and the logarithm of its weight."""
        (mean,) = self.infer(*inputs)
        return {"m": mean, "l": Type(mean.shape, current(-WEIGHT_LIMIT, WEIGHT_LIMIT))}

    def initial(self, *inputs: Type) -> dict[str, Array]:
        """Nothing, with no weight."""
        shape = inputs[0].shape
        return {"m": np.zeros(shape, np.int64), "l": np.full(shape, -WEIGHT_LIMIT, np.int64)}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The mean with the present key, then the mean and the weight for the next step."""
        (k, v), m, left = inputs, state["m"], state["l"]
        seen = self._moved(m, v, k + self.bonus - left)
        faded = left + self.decay
        apart = np.minimum(np.abs(k - faded), self.reach)
        grown = np.maximum(faded, k) + self.growth.astype(np.int64)[apart]
        after = {"m": self._moved(m, v, k - faded), "l": np.clip(grown, -WEIGHT_LIMIT, WEIGHT_LIMIT)}
        return (seen,), after

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element, whatever it is."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)

    def _moved(self, m: Array, v: Array, d: Array) -> Array:
        share = self.share.astype(np.int64)[self._place(d)]
        moved: Array = m + (((v - m) * share + (1 << (SHARE_BITS - 1))) >> SHARE_BITS)
        return moved

    def _place(self, d: Array) -> Array:
        return np.clip(d, -self.reach, self.reach) + self.reach

    @staticmethod
    def _ends(array: Array) -> tuple[int, int]:
        return int(array.min()), int(array.max())
