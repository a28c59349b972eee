"""Resonate-and-fire neurons in integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import divide_toward_zero
from spikeloom.compiler.graph.kinds import SPIKES, Type, current
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register

DECAY_ONE = 4096
STATE_LIMIT = 2**23 - 1


@register
@dataclass(frozen=True, eq=False)
class Resonator(StatefulOp):
    """A complex state that turns and fades; it fires as it passes the real axis, or over a threshold.

        re' = clip(trunc(cos re / 4096) - trunc(sin im / 4096) + (x << fraction_bits))
        im' = clip(trunc(sin re / 4096) + trunc(cos im / 4096) + (y << fraction_bits))
        s = re' >= threshold and im' >= 0 and im < 0 ;  re, im <- re', im'                 if by_phase
        s = im' >= threshold ;  re <- 0, im <- threshold - 1 where s ;  re, im <- re', im'  otherwise

    ``trunc`` rounds toward zero, ``clip`` is to 24 bits with sign. These are the fixed-point models ``RF``
    and ``RF_IZ`` of lava-nc 0.10.0 (``proc/rf/models.py``, ``proc/rf_iz/models.py``).

    Attributes:
        cosine, sine: of the turn in a step, times what is left of the state, in parts of 4096.
        threshold: state units.
        fraction_bits: binary digits of the state below one unit of input.
        by_phase: whether it fires by its phase.

    >>> op = Resonator(0, 4096, 8, 0, by_phase=True)
    >>> state, fired = {name: np.zeros((1, 1), np.int64) for name in ("real", "imag")}, []
    >>> for kick in (9, 0, 0, 0, 0):
    ...     (s,), state = op.step((np.array([[kick]]), np.array([[0]])), state)
    ...     fired.append(int(s[0, 0]))
    >>> fired
    [0, 0, 0, 0, 1]
    """

    name: ClassVar[str] = "resonator"
    work: ClassVar[Work] = "update"

    cosine: int
    sine: int
    threshold: int
    fraction_bits: int
    by_phase: bool = False

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Two integers, for the real and the imaginary axis, to spikes of their shape."""
        x, y = inputs
        if x.shape != y.shape or not x.kind.is_integer or not y.kind.is_integer:
            raise RuleBrokenError(f"needs integers of one shape, not {x} and {y}")
        if max(abs(self.cosine), abs(self.sine)) > DECAY_ONE or self.fraction_bits < 0:
            raise RuleBrokenError(f"a turn of {self.cosine} and {self.sine} in 4096 grows")
        largest = max(map(abs, (*x.kind.bounds, *y.kind.bounds))) << self.fraction_bits
        if largest >= 2**31 - 4 * STATE_LIMIT or not 0 < self.threshold < STATE_LIMIT:
            raise RuleBrokenError(f"{x} or a threshold of {self.threshold} leaves the state")
        return (Type(x.shape, SPIKES),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """The two parts of the state."""
        return dict.fromkeys(("real", "imag"), Type(inputs[0].shape, current(-STATE_LIMIT, STATE_LIMIT)))

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Turn, add, fire."""
        x, y = (value.astype(np.int64) << self.fraction_bits for value in inputs)
        before = state["imag"]
        real = _clipped(_part(self.cosine, state["real"]) - _part(self.sine, before) + x)
        imag = _clipped(_part(self.sine, state["real"]) + _part(self.cosine, before) + y)
        if self.by_phase:
            s = (real >= self.threshold) & (imag >= 0) & (before < 0)
            return (s.astype(np.int64),), {"real": real, "imag": imag}
        s = imag >= self.threshold
        after = {"real": np.where(s, 0, real), "imag": np.where(s, self.threshold - 1, imag)}
        return (s.astype(np.int64),), after

    def dense_operations(self, *inputs: Type) -> int:
        """One update per neuron."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every neuron is updated in every step."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)


def _part(share: int, state: Array) -> Array:
    return divide_toward_zero(share * state, DECAY_ONE)


def _clipped(state: Array) -> Array:
    return np.clip(state, -STATE_LIMIT, STATE_LIMIT)
