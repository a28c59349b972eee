"""Mean over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, register


@register
@dataclass(frozen=True, eq=False)
class TimeMean(StatefulOp):
    """total <- total + x ;  y = total / steps: after the last step, the mean over time.

    Float only: an integer graph accumulates (:class:`Accumulate`) and counts in smaller units.

    Attributes:
        steps: how many the network runs between resets.
    """

    name: ClassVar[str] = "time_mean"

    steps: int

    @property
    def accumulates(self) -> bool:
        """It does."""
        return True

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any value to a real value of its shape."""
        if self.steps < 1:
            raise RuleBrokenError(f"a mean over {self.steps} steps")
        return (Type(inputs[0].shape, REAL),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """What was summed so far."""
        return {"total": Type(inputs[0].shape, REAL)}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Add, and divide."""
        total = state["total"] + inputs[0]
        return (total / self.steps,), {"total": total}
