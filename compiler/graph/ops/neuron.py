"""A spiking neuron with real-valued parameters, as it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import REAL, Type, levels
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register

Reset = Literal["hard", "soft"]
Rounding = Literal["half_up", "half_even"]


@register
@dataclass(frozen=True, eq=False)
class Neuron(StatefulOp):
    """The membrane equation that covers IF, LIF (both input conventions), PLIF, I-LIF and MultiSpike.

    h = decay * v + gain * x + drift ;  s = 1 if h >= threshold else 0
    graded: s = round(clip(h / threshold, 0, levels)) ;  the value that goes on is s / divisor
    v' = v_reset where s, else h (hard) ;  v' = h - s * threshold (soft)

    A LIF of time constant tau that divides its input by tau has decay = 1 - 1/tau, gain = 1/tau
    and drift = v_reset/tau. State v starts at v_reset (hard) or 0 (soft). MultiSpike of Spike-driven
    Transformer V3 and QSD-Transformer has no memory: decay = 0.

    Attributes:
        decay, gain, drift, threshold, v_reset: numbers in units of the membrane potential.
        reset: what a spike does to the potential.
        levels: the largest spike; 1 for plain spikes.
        rounding: of graded spikes: where half a level goes, up or to the even neighbour.
        divisor: what graded spikes are divided by.
    """

    name: ClassVar[str] = "neuron"
    work: ClassVar[Work] = "update"

    decay: float
    gain: float
    threshold: float
    drift: float = 0.0
    reset: Reset = "hard"
    v_reset: float = 0.0
    levels: int = 1
    rounding: Rounding = "half_up"
    divisor: float = 1.0

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any current to spikes of its shape; divided ones are real."""
        if self.levels < 1 or self.divisor <= 0:
            raise RuleBrokenError(f"{self.levels} levels, divided by {self.divisor}")
        if self.threshold <= self.v_reset:
            raise RuleBrokenError(f"threshold {self.threshold} is not above v_reset {self.v_reset}")
        return (Type(inputs[0].shape, levels(self.levels) if self.divisor == 1 else REAL),)

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
        s = self._fired(h)
        v = np.where(s > 0, self.v_reset, h) if self.reset == "hard" else h - s * self.threshold
        return (s / self.divisor if self.divisor != 1 else s,), {"v": v}

    @property
    def memoryless(self) -> bool:
        """Whether nothing is carried from step to step."""
        return self.decay == 0

    def _fired(self, h: Array) -> Array:
        if self.levels == 1:
            return (h >= self.threshold).astype(h.dtype)
        graded = np.clip(h / self.threshold, 0, self.levels)
        rounded: Array = np.rint(graded) if self.rounding == "half_even" else np.floor(graded + 0.5)
        return rounded

    def dense_operations(self, *inputs: Type) -> int:
        """One update per neuron."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every neuron is updated in every step."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)
