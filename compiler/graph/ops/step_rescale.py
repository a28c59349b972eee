"""Integers brought to another unit, by constants of their own for each time step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import Type, current
from spikeloom.compiler.graph.op import Array, StatefulOp, Work, register
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.ops.step_affine import (
    advance_counter,
    check_step_constants,
    of_step,
    step_counter,
)


@register
@dataclass(frozen=True, eq=False)
class StepRescale(StatefulOp):
    """y = clip(((x * factor(t) + half) >> shift) + offset(t), lo, hi): a :class:`Rescale` for each step.

    After the last step the constants of the last one go on.

    Attributes:
        factor: [steps, ...] integers of 16 bits, the rest broadcasts against the value.
        shift: binary digits that are dropped, half = 2**(shift - 1).
        lo, hi: the range of the result; what is outside is clipped.
        offset: [steps, ...] integers in the unit of the result.
    """

    name: ClassVar[str] = "step_rescale"
    work: ClassVar[Work] = "addition"

    factor: Array
    shift: int
    lo: int
    hi: int
    offset: Array

    @property
    def half(self) -> int:
        """What is added before the shift, so that it rounds to the nearest."""
        return (1 << self.shift) // 2

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Integers to integers of the same shape; the interval holds those of all steps."""
        (x,) = inputs
        check_step_constants(x, self.factor, self.offset)
        kinds = [self._at(step).infer(x)[0].kind for step in range(len(self.factor))]
        low, high = min(kind.bounds[0] for kind in kinds), max(kind.bounds[1] for kind in kinds)
        return (Type(x.shape, current(low, high)),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """The number of the step."""
        return {"step": step_counter(self.factor)}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Multiply, round, clip, and count."""
        now, after = advance_counter(state["step"], len(self.factor))
        rank = inputs[0].ndim
        product = inputs[0] * of_step(self.factor, now, rank).astype(np.int64)
        moved = ((product + self.half) >> self.shift) + of_step(self.offset, now, rank)
        return (np.clip(moved, self.lo, self.hi),), {"step": after}

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element is rescaled in every step."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)

    def _at(self, step: int) -> Rescale:
        return Rescale(self.factor[step], self.shift, self.lo, self.hi, self.offset[step])
