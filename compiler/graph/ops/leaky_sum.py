"""Sum over time that fades."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import check_accumulator, count_pairs, divide_toward_zero, is_integer
from spikeloom.compiler.graph.kinds import REAL, Type, current
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register

KEEP_ONE = 4096


@register
@dataclass(frozen=True, eq=False)
class LeakySum(StatefulOp):
    """total <- keep * total + x + bias ;  y = total: the membrane of a readout that never fires.

    In integers, as a neuron without a threshold:
    total <- trunc(total * keep / 4096) + (x << fraction_bits) + bias, rounded toward zero.

    Attributes:
        keep: what is left after a step: a float from 0 to below 1, or an int, how many of 4096 parts.
        bias: broadcasts against the value, in units of the total; or None.
        fraction_bits: binary digits of an integer total below one unit of x.
        each_step: whether every total is an answer of its own; else the last stands for all steps.

    >>> op, state = LeakySum(2048, fraction_bits=1), {"total": np.array([[3]])}
    >>> op.step((np.array([[2]]),), state)[0]
    (array([[5]]),)
    """

    name: ClassVar[str] = "leaky_sum"
    work: ClassVar[Work] = "addition"
    keep: float | int
    bias: Array | None = None
    fraction_bits: int = 0
    each_step: bool = False

    @property
    def accumulates(self) -> bool:
        """Whether the last total stands for all steps."""
        return not self.each_step

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any value to a value of its shape; the bounds are those of the geometric series."""
        (x,) = inputs
        whole = isinstance(self.keep, int)
        if not 0 <= self.keep < (KEEP_ONE if whole else 1) or self.fraction_bits < 0:
            raise RuleBrokenError(f"keeps {self.keep} with {self.fraction_bits} fraction bits")
        try:
            fits = self.bias is None or np.broadcast_shapes(x.shape, self.bias.shape) == x.shape
        except ValueError:
            fits = False
        if not fits:
            raise RuleBrokenError(f"the bias does not broadcast against {x}")
        if not whole or not x.kind.is_integer:
            return (Type(x.shape, REAL),)
        if self.bias is not None and not is_integer(self.bias):
            raise RuleBrokenError(f"integers need an integer bias, not {self.bias.dtype}")
        low, high = self._reach(int(self.keep), *x.kind.bounds)
        check_accumulator(low, high)
        return (Type(x.shape, current(low, high)),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """What is left of the sum."""
        return {"total": self.infer(*inputs)[0]}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Fade, and add."""
        (x,), total = inputs, state["total"]
        if isinstance(self.keep, int):
            left = divide_toward_zero(total * self.keep, KEEP_ONE) + (x << self.fraction_bits)
        else:
            left = total * self.keep + x
        total = left if self.bias is None else left + self.bias
        return (total,), {"total": total}

    def dense_operations(self, *inputs: Type) -> int:
        """One addition per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Additions of something that is not zero, per sample."""
        return count_pairs(inputs[0] != 0)

    def _reach(self, keep: int, low: int, high: int) -> tuple[int, int]:
        """Bounds of the total, which starts at 0 and fades toward it: drive / (1 - keep)."""
        added = (0, 0) if self.bias is None else (int(self.bias.min()), int(self.bias.max()))
        least, most = (
            (end << self.fraction_bits) + more for end, more in zip((low, high), added, strict=True)
        )
        lost = KEEP_ONE - keep
        return min(0, -(-least * KEEP_ONE // lost)), max(0, most * KEEP_ONE // lost)
