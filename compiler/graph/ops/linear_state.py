"""A linear recurrence: the memory of Legendre memory units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import EXACT_FLOAT64, check_accumulator, exactly, is_integer
from spikeloom.compiler.graph.kinds import REAL, Type, current
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register


@register
@dataclass(frozen=True, eq=False)
class LinearState(StatefulOp):
    """m <- A m + gain * x ;  y = m, over the last axis; x is what a linear map B makes of the input.

    Together with the map before it this is m' = A m + B u of the Legendre memory unit (Voelker et al.,
    2019), whose training form is a convolution by FFT. In integers
    m <- clip((A m + gain * x + bias + half) >> shift, -limit, limit), half = 2**(shift - 1), rounded
    down; it neither overflows nor drifts, and the clip is part of the meaning.

    Attributes:
        matrix: A [n, n], float or integer.
        gain: broadcasts against x.
        bias: integers that broadcast against x, in units of the sum before the shift; or None.
        shift: binary digits that are dropped; 0 in a float graph.
        limit: the largest magnitude of an integer state; 0 in a float graph.

    >>> op = LinearState(np.array([[2, 1], [0, 2]]), np.array(4), shift=2, limit=100)
    >>> op.step((np.array([[0, 10]]),), {"m": np.array([[8, 0]])})[0]
    (array([[ 4, 10]]),)
    """

    name: ClassVar[str] = "linear_state"
    work: ClassVar[Work] = "synaptic"

    matrix: Array
    gain: Array
    bias: Array | None = None
    shift: int = 0
    limit: int = 0

    @property
    def half(self) -> int:
        """What is added before the shift, so that it rounds to the nearest."""
        return (1 << self.shift) // 2

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """[..., n] to [..., n]: real, or within the limit, if every sum is exact in float64."""
        (x,) = inputs
        n = len(self.matrix)
        if self.matrix.shape != (n, n) or not x.shape or x.shape[-1] != n:
            raise RuleBrokenError(f"a matrix {self.matrix.shape} does not act on {x}")
        added = np.zeros((), np.int64) if self.bias is None else self.bias
        try:
            fits = np.broadcast_shapes(x.shape, self.gain.shape, added.shape) == x.shape
        except ValueError:
            fits = False
        if not fits:
            raise RuleBrokenError(f"gains {self.gain.shape} or biases {added.shape} do not fit {x}")
        if not x.kind.is_integer or not is_integer(self.matrix):
            return (Type(x.shape, REAL),)
        if not is_integer(self.gain, added) or self.shift < 0 or self.limit < 1:
            raise RuleBrokenError("an integer matrix needs an integer gain and bias, a shift and a limit")
        self._check_exact(x, added)
        check_accumulator(-self.limit, self.limit)
        return (Type(x.shape, current(-self.limit, self.limit)),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """The memory m."""
        return {"m": self.infer(*inputs)[0]}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Advance the recurrence."""
        (x,) = inputs
        moved = exactly(np.matmul, state["m"], self.matrix.T) + self.gain * x
        if is_integer(self.matrix):
            raised = moved + self.half if self.bias is None else moved + self.bias + self.half
            moved = np.clip(raised >> self.shift, -self.limit, self.limit)
        return (moved,), {"m": moved}

    def dense_operations(self, *inputs: Type) -> int:
        """The matrix, for every row."""
        return inputs[0].size * len(self.matrix)

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """The weights that are not zero, for every row: a memory is hardly ever zero."""
        rows = inputs[0][0].size // len(self.matrix)
        return np.full(len(inputs[0]), rows * np.count_nonzero(self.matrix), np.int64)

    def _check_exact(self, x: Type, added: Array) -> None:
        rows = np.abs(self.matrix.astype(np.int64)).sum(1).max()
        terms = (
            int(rows) * self.limit,
            int(np.abs(self.gain).max()) * max(map(abs, x.kind.bounds)),
            int(np.abs(added).max()) + (1 << self.shift),
        )
        if sum(terms) >= EXACT_FLOAT64 // 2:
            raise RuleBrokenError(f"sums of {' + '.join(map(str, terms))} are not exact in float64")
