"""A border of one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.arithmetic import is_integer
from spikeloom.compiler.graph.kinds import Kind, Type, holding
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
        if kind.is_integer and self.value != int(self.value):
            raise RuleBrokenError(f"integers are padded with {self.value}")
        return holding(kind, int(self.value))
