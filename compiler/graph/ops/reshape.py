"""The same elements in another shape."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """The elements in row-major order under a new shape.

    Attributes:
        shape: without the batch axis.
    """

    name: ClassVar[str] = "reshape"

    shape: tuple[int, ...]

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any shape of as many elements; the kind stays."""
        (x,) = inputs
        if prod(self.shape) != x.size:
            raise RuleBrokenError(f"{x} does not have the {prod(self.shape)} elements of {self.shape}")
        return (Type(self.shape, x.kind),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The new view."""
        return (inputs[0].reshape(len(inputs[0]), *self.shape),)
