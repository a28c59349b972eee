"""A spiking neuron with real-valued parameters, as it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import REAL, SPIKES, Type
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register

Reset = Literal["hard", "soft"]


@register
@dataclass(frozen=True, eq=False)
class Neuron(StatefulOp):
    """The membrane equation that covers IF, LIF (both input conventions) and PLIF.

    h = decay * v + gain * x + drift ;  s = 1 if h >= threshold else 0
    v' = v_reset where s, else h (hard) ;  v' = h - s * threshold (soft)

    A LIF of time constant tau that divides its input by tau has decay = 1 - 1/tau, gain = 1/tau
    and drift = v_reset/tau. State v starts at v_reset (hard) or 0 (soft).

    Attributes:
        decay, gain, drift, threshold, v_reset: numbers in units of the membrane potential.
        reset: what a spike does to the potential.
    """

    name: ClassVar[str] = "neuron"
    work: ClassVar[Work] = "update"

    decay: float
    gain: float
    threshold: float
    drift: float = 0.0
    reset: Reset = "hard"
    v_reset: float = 0.0

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any current to spikes of its shape."""
        if self.threshold <= self.v_reset:
            raise RuleBrokenError(f"threshold {self.threshold} is not above v_reset {self.v_reset}")
        return (Type(inputs[0].shape, SPIKES),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """The membrane potential v."""
        return {"v": Type(inputs[0].shape, REAL)}

    @property
    def initial_potential(self) -> float:
        """The potential before the first step."""
        return self.v_reset if self.reset == "hard" else 0.0

    def initial(self, *inputs: Type) -> dict[str, Array]:
        """The resting potential."""
        return {"v": np.full(inputs[0].shape, self.initial_potential)}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Integrate, fire, reset."""
        h = self.decay * state["v"] + self.gain * inputs[0] + self.drift
        s = (h >= self.threshold).astype(h.dtype)
        v = np.where(s > 0, self.v_reset, h) if self.reset == "hard" else h - s * self.threshold
        return (s,), {"v": v}

    def dense_operations(self, *inputs: Type) -> int:
        """One update per neuron."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every neuron is updated in every step."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)
