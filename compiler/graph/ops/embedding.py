"""A stored row for each token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.arithmetic import is_integer
from spikeloom.compiler.graph.kinds import REAL, Type, levels, sums
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class Embedding(Op):
    """y = weight[x]: the row of a token.

    Attributes:
        weight: [tokens, n], float or integer.

    >>> Embedding(np.array([[1, 2], [3, 4]])).evaluate(np.array([1, 0]))[0].tolist()
    [[3, 4], [1, 2]]
    """

    name: ClassVar[str] = "embedding"

    weight: Array

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """[...] whole numbers below the number of tokens to [..., n]."""
        (x,) = inputs
        if not x.kind.is_integer or self.weight.ndim != 2:
            raise RuleBrokenError(f"{x} picks no row of {self.weight.shape}")
        low, high = x.kind.bounds
        if low < 0 or high >= len(self.weight):
            raise RuleBrokenError(f"there are {len(self.weight)} tokens, and {x} holds others")
        shape = (*x.shape, self.weight.shape[1])
        if not is_integer(self.weight):
            return (Type(shape, REAL),)
        least, most = int(self.weight.min()), int(self.weight.max())
        return (Type(shape, levels(most) if least >= 0 and most > 0 else sums(least, most)),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """Pick the rows."""
        rows: Array = self.weight[inputs[0].astype(np.int64)]
        return (rows.astype(np.int64) if is_integer(rows) else rows,)
