"""Constants of their own for each time step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.kinds import REAL, Type, sums
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, register


@register
@dataclass(frozen=True, eq=False)
class StepAffine(StatefulOp):
    """y(t) = scale(t) * x(t) + offset(t): temporal batch norms, learned weights of time steps. Float only.

    After the last step the constants of the last one go on.

    Attributes:
        scale, offset: [steps, ...], the rest broadcasts against the value without widening it.
    """

    name: ClassVar[str] = "step_affine"

    scale: Array
    offset: Array

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any value to a real value of its shape."""
        (x,) = inputs
        check_step_constants(x, self.scale, self.offset)
        return (Type(x.shape, REAL),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """The number of the step."""
        return {"step": step_counter(self.scale)}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Scale and shift, and count."""
        now, after = advance_counter(state["step"], len(self.scale))
        rank = inputs[0].ndim
        return (inputs[0] * of_step(self.scale, now, rank) + of_step(self.offset, now, rank),), {
            "step": after
        }


def check_step_constants(x: Type, *constants: Array) -> None:
    """Refuse constants [steps, ...] that do not fit a value.

    Raises:
        RuleBrokenError: their numbers of steps differ, or one does not broadcast against the value.
    """
    try:
        fits = np.broadcast_shapes(x.shape, *(constant.shape[1:] for constant in constants)) == x.shape
    except ValueError:
        fits = False
    steps = {constant.shape[:1] for constant in constants}
    if not fits or len(steps) != 1 or steps & {(), (0,)}:
        raise RuleBrokenError(f"constants {[constant.shape for constant in constants]} do not fit {x}")


def step_counter(constants: Array) -> Type:
    """A state that counts steps up to the last one that has constants."""
    return Type((), sums(0, len(constants) - 1))


def advance_counter(count: Array, steps: int) -> tuple[Array, Array]:
    """The step [batch] as an index, and the one after it; the last one stays."""
    now = count.astype(np.int64)
    return now, np.minimum(now + 1, steps - 1)


def of_step(constants: Array, now: Array, rank: int) -> Array:
    """The constants of a step [batch] shaped against a value with ``rank`` axes, batch included."""
    chosen = constants[now]
    return chosen.reshape(len(now), *(1,) * (rank - chosen.ndim), *chosen.shape[1:])
