"""Sum over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import check_accumulator, count_pairs
from spikeloom.compiler.graph.kinds import Kind, Type, sums
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register


@register
@dataclass(frozen=True, eq=False)
class Accumulate(StatefulOp):
    """total <- total + x ;  y = total: after the last step, the sum over time.

    Attributes:
        horizon: steps between resets; bounds what is summed.
    """

    name: ClassVar[str] = "accumulate"
    work: ClassVar[Work] = "addition"

    horizon: int

    @property
    def accumulates(self) -> bool:
        """It does."""
        return True

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any value to a value of its shape; bounds grow with the steps."""
        (x,) = inputs
        if self.horizon < 1:
            raise RuleBrokenError(f"a sum over {self.horizon} steps")
        if not x.kind.is_integer:
            return (x,)
        low, high = (bound * self.horizon for bound in x.kind.bounds)
        low, high = min(low, x.kind.bounds[0]), max(high, x.kind.bounds[1])
        check_accumulator(low, high)
        weighted = x.kind.name == "current"
        return (Type(x.shape, Kind("current", low, high) if weighted else sums(low, high)),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """What was summed so far; nothing at the start."""
        (total,) = self.infer(*inputs)
        if not total.kind.is_integer:
            return {"total": total}
        low, high = total.kind.bounds
        return {"total": Type(total.shape, Kind("current", min(low, 0), max(high, 0)))}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Add."""
        total = state["total"] + inputs[0]
        return (total,), {"total": total}

    def dense_operations(self, *inputs: Type) -> int:
        """One addition per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Additions of something that is not zero, per sample."""
        return count_pairs(inputs[0] != 0)
