"""Values joined along one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.kinds import REAL, SPIKES, Kind, Type, sums
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class Concat(Op):
    """The inputs one after the other.

    Attributes:
        axis: counted from the front of the value's shape.
    """

    name: ClassVar[str] = "concat"

    axis: int

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Shapes equal but for the axis; the kind holds every input."""
        rests = {x.shape[: self.axis] + x.shape[self.axis + 1 :] for x in inputs}
        if len(rests) != 1 or any(not 0 <= self.axis < len(x.shape) for x in inputs):
            raise RuleBrokenError(f"{', '.join(map(str, inputs))} do not join along axis {self.axis}")
        shape = list(inputs[0].shape)
        shape[self.axis] = sum(x.shape[self.axis] for x in inputs)
        return (Type(tuple(shape), _joined([x.kind for x in inputs])),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """The joined value."""
        return (np.concatenate(inputs, self.axis + 1),)


def _joined(kinds: list[Kind]) -> Kind:
    if len(set(kinds)) == 1:
        return kinds[0]
    if not all(kind.is_integer for kind in kinds):
        return REAL
    low = min(kind.bounds[0] for kind in kinds)
    high = max(kind.bounds[1] for kind in kinds)
    if any(kind.name == "current" for kind in kinds):
        return Kind("current", low, high)
    return SPIKES if (low, high) == (0, 1) else sums(low, high)
