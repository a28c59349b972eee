"""Product of two values: the heart of attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import check_accumulator, count_pairs, exactly
from spikeloom.compiler.graph.kinds import REAL, Type, sums
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work, register

Streamed = Literal["", "rows", "memory"]


@register
@dataclass(frozen=True, eq=False)
class MatMul(Op):
    """y[..., i, j] = sum over k of a[..., i, k] * b[..., k, j]; the leading axes are equal.

    Neither operand is a stored weight, so no chip keeps one of them as synapses. Products of
    spikes are sums of ANDs; without a softmax between two products, (q k) v = q (k v).

    Attributes:
        streamed: how a chip takes the operands of two products in a row, if not at once: a row of the first
            product at a time, or sums that are held while tokens come one by one. It is an order of
            execution, set on both products; no number depends on it.
    """

    streamed: Streamed = ""

    name: ClassVar[str] = "matmul"
    work: ClassVar[Work] = "product"

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """[..., I, K] and [..., K, J] to [..., I, J]; integers stay integers."""
        a, b = inputs
        if self.streamed not in get_args(Streamed):
            raise RuleBrokenError(f"there is no stream of {self.streamed}")
        if len(a.shape) < 2 or a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2]:
            raise RuleBrokenError(f"{a} and {b} cannot be multiplied")
        shape = (*a.shape[:-1], b.shape[-1])
        if not (a.kind.is_integer and b.kind.is_integer):
            return (Type(shape, REAL),)
        corners = [x * y for x in a.kind.bounds for y in b.kind.bounds]
        low, high = min(corners) * a.shape[-1], max(corners) * a.shape[-1]
        check_accumulator(low, high)
        return (Type(shape, sums(low, high)),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The product, exact for integers."""
        return (exactly(np.matmul, *inputs),)

    def dense_operations(self, *inputs: Type) -> int:
        """I times K times J, for every leading index."""
        return inputs[0].size * inputs[1].shape[-1]

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Pairs of two non-zero operands, per sample."""
        a, b = ((value != 0).astype(np.float64) for value in inputs)
        return count_pairs(exactly(np.matmul, a, b))
