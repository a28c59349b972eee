"""The last few values side by side: what a convolution along time looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.kinds import Type, holding
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, register


@register
@dataclass(frozen=True, eq=False)
class TimeWindow(StatefulOp):
    """y(t) = x(t - (size - 1) dilation) ... x(t - dilation), x(t), joined along an axis; 0 before the start.

    A convolution along time is this window and a map with stored weights: the kernel w[out, in, size] of
    PyTorch, padded on the left alone, becomes w.transpose(0, 2, 1).reshape(out, size * in). A delay of its
    own for each synapse is a kernel with one weight that is not zero. What PyTorch pads on the right
    makes the result late by as many steps.

    Attributes:
        size: how many values are joined, the present one included.
        axis: along which they are joined, counted from the front of the value's shape.
        dilation: steps between them.
        ahead: how far it looks ahead: the result stands for a time that many steps before the newest of
            its values, and is late by as much.
        beyond: for how many steps it goes on after the sample, on its last values.

    >>> op, state = TimeWindow(2, 0), {"past": np.zeros((1, 1, 1), np.int64)}
    >>> (first,), state = op.step((np.array([[5]]),), state)
    >>> (second,), state = op.step((np.array([[7]]),), state)
    >>> first.tolist(), second.tolist()
    ([[0, 5]], [[5, 7]])
    """

    name: ClassVar[str] = "time_window"

    size: int
    axis: int
    dilation: int = 1
    ahead: int = 0
    beyond: int = 0

    @property
    def overtime(self) -> int:
        """As long as it goes on."""
        return self.beyond

    @property
    def lateness(self) -> int:
        """As far as it looks ahead."""
        return self.ahead

    @property
    def longest(self) -> int:
        """How many steps are remembered."""
        return (self.size - 1) * self.dilation

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """The axis grows ``size`` times; 0 is among the numbers."""
        (x,) = inputs
        fits = 0 <= self.axis < len(x.shape) and 0 <= self.ahead <= self.longest and self.beyond >= 0
        if self.size < 2 or self.dilation < 1 or not fits:
            raise RuleBrokenError(f"{x} has no window of {self.size} by {self.dilation} on axis {self.axis}")
        shape = tuple(n * self.size if i == self.axis else n for i, n in enumerate(x.shape))
        return (Type(shape, holding(x.kind, 0)),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """The last values [longest, ...], the newest first."""
        (x,), (y,) = inputs, self.infer(*inputs)
        return {"past": Type((self.longest, *x.shape), y.kind)}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Join, and remember the new value."""
        seen = np.concatenate([inputs[0][:, None], state["past"]], axis=1)
        taps = [seen[:, tap * self.dilation] for tap in reversed(range(self.size))]
        return (np.concatenate(taps, axis=self.axis + 1),), {"past": seen[:, :-1]}
