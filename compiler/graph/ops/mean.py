"""Mean over axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class Mean(Op):
    """The mean over the given axes, which disappear. Float only: an integer graph sums.

    Attributes:
        axes: counted from the front of the value's shape.
    """

    name: ClassVar[str] = "mean"

    axes: tuple[int, ...]

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """The shape without the axes."""
        (x,) = inputs
        if not self.axes or any(not 0 <= axis < len(x.shape) for axis in self.axes):
            raise RuleBrokenError(f"{x} has no axes {self.axes}")
        return (Type(tuple(n for i, n in enumerate(x.shape) if i not in self.axes), REAL),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The mean."""
        return (inputs[0].mean(tuple(axis + 1 for axis in self.axes)),)
