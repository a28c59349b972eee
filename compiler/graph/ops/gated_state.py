"""A memory that fades by what the data say: linear attention with gates, selective scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import EXACT_FLOAT64, check_accumulator
from spikeloom.compiler.graph.kinds import REAL, Type, current
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register


@register
@dataclass(frozen=True, eq=False)
class GatedState(StatefulOp):
    """m <- gate * m + x ;  y = m, element by element; the gate is a value of the graph.

    With x the outer product of a key and a value, m is the state of gated linear attention, which a
    product with a query reads: S <- diag(g) S + k v', o = q S (Yang et al., 2024, equation 3). With
    gate = exp(delta A) and x = delta u B it is the selective scan of Mamba (Gu and Dao, 2023, algorithm
    2). The state has a fixed size, however long the sequence is. In integers
    m <- clip(((gate * m + half) >> shift) + x, -limit, limit), half = 2**(shift - 1), rounded down.

    Attributes:
        shift: binary digits of an integer gate, of which 2**shift keeps all; 0 in a float graph.
        limit: the largest magnitude of an integer state; 0 in a float graph.

    >>> op = GatedState(shift=2, limit=100)
    >>> op.step((np.array([[3, 1]]), np.array([[5, 0]])), {"m": np.array([[8, 10]])})[0]
    (array([[11,  3]]),)
    """

    name: ClassVar[str] = "gated_state"
    work: ClassVar[Work] = "host"

    shift: int = 0
    limit: int = 0

    @property
    def half(self) -> int:
        """What is added before the shift, so that it rounds to the nearest."""
        return (1 << self.shift) // 2

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Gates and values of one shape: real, or within the limit, if every product is exact in float64."""
        gate, x = inputs
        if gate.shape != x.shape:
            raise RuleBrokenError(f"gates {gate} do not fit {x}")
        if self.limit == 0 or not (gate.kind.is_integer and x.kind.is_integer):
            return (Type(x.shape, REAL),)
        if self.shift < 0 or self.limit < 1:
            raise RuleBrokenError("an integer memory needs a shift and a limit")
        reach = max(map(abs, gate.kind.bounds)) * self.limit + (1 << self.shift)
        if reach >= EXACT_FLOAT64 // 2:
            raise RuleBrokenError(f"a product of up to {reach} is not exact in float64")
        check_accumulator(-self.limit, self.limit)
        return (Type(x.shape, current(-self.limit, self.limit)),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """The memory m."""
        return {"m": self.infer(*inputs)[0]}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Fade, and add."""
        gate, x = inputs
        if self.limit == 0:
            m = gate * state["m"] + x
        else:
            kept = (gate.astype(np.int64) * state["m"] + self.half) >> self.shift
            m = np.clip(kept + x, -self.limit, self.limit)
        return (m,), {"m": m}

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element, whatever it is."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)
