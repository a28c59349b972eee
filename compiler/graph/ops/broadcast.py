"""Axes of one element repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class Broadcast(Op):
    """The same numbers in a larger shape; axes of one element are repeated.

    Attributes:
        shape: of the result, with as many axes as the value.
    """

    name: ClassVar[str] = "broadcast"

    shape: tuple[int, ...]

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """The new shape, of the same kind."""
        (x,) = inputs
        fits = len(x.shape) == len(self.shape) and all(
            have in (1, want) for have, want in zip(x.shape, self.shape, strict=False)
        )
        if not fits:
            raise RuleBrokenError(f"{x} does not broadcast to {self.shape}")
        return (Type(self.shape, x.kind),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The repeated values, as a view."""
        return (np.broadcast_to(inputs[0], (len(inputs[0]), *self.shape)),)
