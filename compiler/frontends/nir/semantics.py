"""How a NIR graph is executed: NIR gives equations in continuous time and leaves the rest open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spikeloom.errors import InputError


@dataclass(frozen=True)
class Semantics:
    """An execution of NIR's neurons in discrete time.

    Attributes:
        name: of the preset.
        dt: seconds of a time step. LIF: v <- v + dt/tau ((v_leak - v) + r x), explicit Euler.
        pulses: whether spikes are pulses that an IF neuron integrates whole: v <- v + r x; else
            v <- v + dt r x.
        reset: what a spike does: to zero, or subtract the threshold.
        strict: whether a neuron fires above its threshold (NIR) or already at it.
    """

    name: str
    dt: float
    pulses: bool = True
    reset: Literal["hard", "soft"] = "hard"
    strict: bool = True


PRESETS = {
    preset.name: preset
    for preset in (
        Semantics("norse", dt=1e-4),
        Semantics("sinabs", dt=1e-3, reset="soft", strict=False),
    )
}
"""By the framework that they reproduce; each is held to published data by a test."""


def preset(name: str) -> Semantics:
    """The preset of that name.

    Raises:
        InputError: SL0901, there is none.

    >>> preset("norse").dt
    0.0001
    """
    if name not in PRESETS:
        raise InputError.of("SL0901", name, "is no way to execute NIR", wanted=" or ".join(PRESETS))
    return PRESETS[name]
