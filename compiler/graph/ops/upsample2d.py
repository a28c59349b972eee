"""A larger picture: every pixel repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class Upsample2d(Op):
    """y[c, i, j] = x[c, i // scale[0], j // scale[1]]: nearest neighbour.

    Attributes:
        scale: whole factors (height, width).
    """

    name: ClassVar[str] = "upsample2d"

    scale: tuple[int, ...]

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """[channels, height, width] to more positions of the same kind."""
        (x,) = inputs
        if len(x.shape) != 3 or len(self.scale) != 2 or min(self.scale) < 1:
            raise RuleBrokenError(f"{x} cannot be scaled by {self.scale}")
        channels, height, width = x.shape
        return (Type((channels, height * self.scale[0], width * self.scale[1]), x.kind),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The repeated pixels."""
        return (inputs[0].repeat(self.scale[0], 2).repeat(self.scale[1], 3),)
