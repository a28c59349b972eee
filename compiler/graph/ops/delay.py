"""Values that arrive later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.arithmetic import is_integer
from spikeloom.compiler.graph.kinds import Type, holding
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, register


@register
@dataclass(frozen=True, eq=False)
class Delay(StatefulOp):
    """y(t) = x(t - steps), and 0 before anything has arrived: an axonal delay, learned or fixed.

    Attributes:
        steps: integers from 0 that broadcast against the value; one per channel, say.
        balances: whether it keeps a value back for one that is late, and makes it as late; all its steps
            are equal then. Else what arrives is a value of the past.

    >>> op, state = Delay(np.array([0, 1])), {"past": np.zeros((1, 1, 2), np.int64)}
    >>> (first,), state = op.step((np.array([[5, 6]]),), state)
    >>> (second,), state = op.step((np.array([[7, 8]]),), state)
    >>> first.tolist(), second.tolist()
    ([[5, 0]], [[7, 6]])
    """

    name: ClassVar[str] = "delay"

    steps: Array
    balances: bool = False

    @property
    def lateness(self) -> int:
        """Its steps, if it balances."""
        return self.longest if self.balances else 0

    @property
    def longest(self) -> int:
        """How many steps are remembered."""
        return int(self.steps.max())

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """The same type, with 0 among its numbers."""
        (x,) = inputs
        if not is_integer(self.steps) or self.steps.min() < 0 or self.longest < 1:
            raise RuleBrokenError(f"delays {self.steps.dtype}{self.steps.shape} are not steps from 0")
        if self.balances and self.steps.min() != self.longest:
            raise RuleBrokenError("a delay that balances has different steps")
        try:
            fits = np.broadcast_shapes(x.shape, self.steps.shape) == x.shape
        except ValueError:
            fits = False
        if not fits:
            raise RuleBrokenError(f"delays {self.steps.shape} do not broadcast against {x}")
        return (Type(x.shape, holding(x.kind, 0)),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """The last values [longest, ...], the newest first."""
        (y,) = self.infer(*inputs)
        return {"past": Type((self.longest, *y.shape), y.kind)}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Take the value that is due, and remember the new one."""
        (x,) = inputs
        seen = np.concatenate([x[:, None], state["past"]], axis=1)
        due = np.broadcast_to(self.steps, x.shape)[:, None]
        return (np.take_along_axis(seen, due, 1)[:, 0],), {"past": seen[:, :-1]}
