"""How a NIR graph is executed: NIR gives equations in continuous time and leaves the rest open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, isfinite
from typing import Literal

from spikeloom.errors import InputError

Decay = Literal["euler", "exponential"]
Drive = Literal["euler", "exponential", "before_decay", "whole"]


@dataclass(frozen=True)
class Semantics:
    """An execution of NIR's neurons in discrete time.

    In each step, with k = what is left of a potential after dt and g = what an input adds to it:
    v <- k v + (1 - k) v_leak + g r x, s = v > v_threshold, and the reset.

    Attributes:
        name: of the preset.
        dt: seconds of a time step.
        decay: k = 1 - dt/tau (explicit Euler), or exp(-dt/tau).
        drive: g = dt/tau; 1 - exp(-dt/tau); dt/tau/k, where the file was written by a framework that adds an
            input before it decays; or 1, where an input is added whole.
        pulses: whether spikes are pulses that an IF neuron integrates whole: v <- v + r x; else
            v <- v + dt r x.
        reset: what a spike does: to zero, or subtract the threshold.
        late: whether a neuron fires, and is reset, one step after its potential has passed the threshold;
            the threshold is subtracted after the decay of that step.
        delay: time steps from a neuron's inputs to its potential.
        fresh: whether the potential of a neuron with a synaptic current takes the current of this step;
            else that of the step before.
        strict: whether a neuron fires above its threshold (NIR) or already at it.
    """

    name: str
    dt: float
    decay: Decay = "euler"
    drive: Drive = "euler"
    pulses: bool = True
    reset: Literal["hard", "soft"] = "hard"
    late: bool = False
    delay: int = 0
    fresh: bool = False
    strict: bool = True

    def left(self, tau: float) -> float:
        """What is left of a state after a step."""
        return 1.0 - self.dt / tau if self.decay == "euler" else exp(-self.dt / tau)

    def gain(self, tau: float) -> float:
        """What an input of one adds to a state in a step."""
        gains = {
            "euler": self.dt / tau,
            "exponential": 1.0 - exp(-self.dt / tau),
            "before_decay": self.dt / tau / exp(-self.dt / tau),
            "whole": 1.0,
        }
        return gains[self.drive]


PRESETS = {
    preset.name: preset
    for preset in (
        Semantics("lava", dt=1e-4, delay=1, fresh=True),
        Semantics("nengo", dt=1e-4, decay="exponential", drive="exponential"),
        Semantics("nir", dt=1e-4),
        Semantics("norse", dt=1e-4, fresh=True),
        Semantics("rockpool", dt=1e-4, decay="exponential", drive="before_decay", reset="soft", fresh=True),
        Semantics(
            "sinabs", dt=1e-3, decay="exponential", drive="whole", reset="soft", fresh=True, strict=False
        ),
        Semantics("snntorch", dt=1e-4, fresh=True),
        Semantics("snntorch-subtract", dt=1e-4, reset="soft", fresh=True),
        Semantics("spinnaker2", dt=1e-4),
        Semantics("spyx", dt=1e-4, reset="soft", late=True, fresh=True),
    )
}
"""By the framework that they reproduce; «nir» is the paper's reference, explicit Euler. docs/nir.md says
which part of each is held to published data."""


def preset(name: str, dt: float | None = None) -> Semantics:
    """The preset of that name, perhaps with another time step.

    Raises:
        InputError: SL0901, there is none, or the time step is no time.

    >>> preset("norse").dt, preset("norse", 1e-3).dt
    (0.0001, 0.001)
    """
    if name not in PRESETS:
        raise InputError.of("SL0901", name, "is no way to execute NIR", wanted=" or ".join(PRESETS))
    if dt is None:
        return PRESETS[name]
    if not (isfinite(dt) and dt > 0):
        raise InputError.of("SL0901", "--dt", "is no time step", wanted="seconds above zero", got=dt)
    return replace(PRESETS[name], dt=dt)
