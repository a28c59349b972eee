"""Values of another time are nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.kinds import Type, holding, sums
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, register


@register
@dataclass(frozen=True, eq=False)
class TimeGate(StatefulOp):
    """y(t) = x(t) for start <= t < start + steps, else 0.

    In a network that looks ahead in time, a value that is ``start`` steps late means nothing before and
    after the sample: the gate keeps neurons and windows from seeing it.

    Attributes:
        start: steps by which the value is late.
        steps: of a sample.

    >>> op, state = TimeGate(start=1, steps=1), {"step": np.zeros(1, np.int64)}
    >>> seen = []
    >>> for x in (5, 6, 7):
    ...     (y,), state = op.step((np.array([[x]]),), state)
    ...     seen.append(int(y[0, 0]))
    >>> seen
    [0, 6, 0]
    """

    name: ClassVar[str] = "time_gate"

    start: int
    steps: int

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """The same type, with 0 among its numbers."""
        (x,) = inputs
        if self.start < 0 or self.steps < 1:
            raise RuleBrokenError(f"a gate from {self.start} over {self.steps} steps")
        return (Type(x.shape, holding(x.kind, 0)),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """The number of the step, up to the first after the sample."""
        return {"step": Type((), sums(0, self.start + self.steps))}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Let through or not, and count."""
        (x,), now = inputs, state["step"]
        after = self.start + self.steps
        is_open = (now >= self.start) & (now < after)
        y = np.where(is_open.reshape(-1, *(1,) * (x.ndim - 1)), x, 0)
        return (y,), {"step": np.minimum(now + 1, after)}
