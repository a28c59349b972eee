"""A value cut along one axis."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class Split(Op):
    """The input in consecutive pieces, as ``torch.split`` and ``chunk``.

    Attributes:
        axis: counted from the front of the value's shape.
        sizes: length of each piece.
    """

    name: ClassVar[str] = "split"

    axis: int
    sizes: tuple[int, ...]

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """One output per size; the kind stays."""
        (x,) = inputs
        if not 0 <= self.axis < len(x.shape) or sum(self.sizes) != x.shape[self.axis] or min(self.sizes) < 1:
            raise RuleBrokenError(f"{x} cannot be cut into {self.sizes} along axis {self.axis}")
        before, after = x.shape[: self.axis], x.shape[self.axis + 1 :]
        return tuple(Type((*before, size, *after), x.kind) for size in self.sizes)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The pieces."""
        return tuple(np.split(inputs[0], list(accumulate(self.sizes))[:-1], self.axis + 1))
