"""Shares of what has arrived in a window of the last steps: attention to the tokens before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import REAL, Type, sums
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register
from spikeloom.compiler.graph.ops.step_affine import advance_counter


@register
@dataclass(frozen=True, eq=False)
class WindowSoftmax(StatefulOp):
    """y = exp(x) / sum(exp(x)) along an axis, of which only the last t + 1 elements count at step t.

    The axis is that of a :class:`~spikeloom.compiler.graph.ops.time_window.TimeWindow`, the oldest first:
    elements that have not arrived have no share. Float only: an integer graph takes it apart.

    Attributes:
        axis: counted from the front of the value's shape.

    >>> op = WindowSoftmax(0)
    >>> first, state = op.step((np.zeros((1, 2)),), {"step": np.zeros(1)})
    >>> first[0].tolist(), op.step((np.zeros((1, 2)),), state)[0][0].tolist()
    ([[0.0, 1.0]], [[0.5, 0.5]])
    """

    name: ClassVar[str] = "window_softmax"
    work: ClassVar[Work] = "host"

    axis: int

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any value to a real value of its shape."""
        (x,) = inputs
        if not 0 <= self.axis < len(x.shape):
            raise RuleBrokenError(f"{x} has no axis {self.axis}")
        return (Type(x.shape, REAL),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """How many steps have gone, up to a full window."""
        return {"step": Type((), sums(0, max(1, inputs[0].shape[self.axis] - 1)))}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Compute in float64, and count."""
        x = inputs[0].astype(np.float64)
        now, after = advance_counter(state["step"], x.shape[self.axis + 1])
        kept = arrived(x.shape[self.axis + 1], x.ndim - 1, self.axis)[now]
        e = np.exp(np.where(kept, x, -np.inf) - np.where(kept, x, -np.inf).max(self.axis + 1, keepdims=True))
        return (e / e.sum(self.axis + 1, keepdims=True),), {"step": after}

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element, whatever it is."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)


def arrived(size: int, rank: int, axis: int) -> NDArray[np.bool_]:
    """At each of the first steps, which elements of a window have arrived: [size, ..., size, ...].

    >>> arrived(3, 1, 0).astype(int).tolist()
    [[0, 0, 1], [0, 1, 1], [1, 1, 1]]
    """
    kept = np.arange(size) >= size - 1 - np.arange(size)[:, None]
    return kept.reshape(size, *(size if place == axis else 1 for place in range(rank)))
