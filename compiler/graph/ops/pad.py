"""A border of one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.arithmetic import is_integer
from spikeloom.compiler.graph.kinds import REAL, Kind, Type, levels
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class Pad(Op):
    """The value with ``value`` around it.

    Attributes:
        before, after: how many elements for each axis of the value's shape.
        value: what they hold; a whole number in an integer graph.
    """

    name: ClassVar[str] = "pad"

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """The larger shape; the interval holds the border too."""
        (x,) = inputs
        if not len(self.before) == len(self.after) == len(x.shape) or min(*self.before, *self.after) < 0:
            raise RuleBrokenError(f"{x} cannot be padded by {self.before} and {self.after}")
        widths = zip(self.before, x.shape, self.after, strict=True)
        return (Type(tuple(sum(width) for width in widths), self._kind(x.kind)),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The padded value."""
        (x,) = inputs
        value = int(self.value) if is_integer(x) else self.value
        widths = [(0, 0), *zip(self.before, self.after, strict=True)]
        return (np.pad(x, widths, constant_values=value),)

    def _kind(self, kind: Kind) -> Kind:
        if not kind.is_integer:
            return REAL
        if self.value != int(self.value):
            raise RuleBrokenError(f"integers are padded with {self.value}")
        low, high = kind.bounds
        low, high = min(low, int(self.value)), max(high, int(self.value))
        if kind.name in ("sum", "current"):
            return Kind(kind.name, low, high)
        return levels(high) if low == 0 else Kind("sum", low, high)
