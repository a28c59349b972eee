"""A piece of one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class Slice(Op):
    """Elements start, start + step ... below stop of one axis.

    Attributes:
        axis: counted from the front of the value's shape.
        start, stop, step: within 0 and the length of the axis; the step is above zero.
    """

    name: ClassVar[str] = "slice"

    axis: int
    start: int
    stop: int
    step: int = 1

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """The shape with a shorter axis, of the same kind."""
        (x,) = inputs
        if not 0 <= self.axis < len(x.shape):
            raise RuleBrokenError(f"{x} has no axis {self.axis}")
        if not (0 <= self.start < self.stop <= x.shape[self.axis] and self.step > 0):
            raise RuleBrokenError(f"{x} has no elements {self.start}:{self.stop}:{self.step} on {self.axis}")
        size = len(range(self.start, self.stop, self.step))
        return (Type((*x.shape[: self.axis], size, *x.shape[self.axis + 1 :]), x.kind),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The piece, as a view."""
        before = (slice(None),) * (self.axis + 1)
        return (inputs[0][(*before, slice(self.start, self.stop, self.step))],)
