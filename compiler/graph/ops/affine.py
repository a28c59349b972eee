"""Multiplication and addition of constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class Affine(Op):
    """y = scale * x + offset: a batch norm, an attention scale, a layer scale. Float only.

    Attributes:
        scale, offset: arrays that broadcast against the value without widening it.
    """

    name: ClassVar[str] = "affine"

    scale: Array
    offset: Array

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any value to a real value of its shape."""
        (x,) = inputs
        try:
            fits = np.broadcast_shapes(x.shape, self.scale.shape, self.offset.shape) == x.shape
        except ValueError:
            fits = False
        if not fits:
            raise RuleBrokenError(
                f"constants {self.scale.shape} and {self.offset.shape} do not broadcast against {x}"
            )
        return (Type(x.shape, REAL),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """Scale and shift."""
        return (inputs[0] * self.scale + self.offset,)
