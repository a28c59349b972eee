"""Axes in another order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class Transpose(Op):
    """Axis i of the result is axis order[i] of the input.

    Attributes:
        order: a permutation of the axes, without the batch axis.
    """

    name: ClassVar[str] = "transpose"

    order: tuple[int, ...]

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """The permuted shape; the kind stays."""
        (x,) = inputs
        if sorted(self.order) != list(range(len(x.shape))):
            raise RuleBrokenError(f"{self.order} is not an order of the axes of {x}")
        return (Type(tuple(x.shape[axis] for axis in self.order), x.kind),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The permuted view."""
        return (inputs[0].transpose(0, *(axis + 1 for axis in self.order)),)
