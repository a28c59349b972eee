"""Neurons of snnTorch 1.0.0: Leaky, Lapicque and Synaptic with their three kinds of reset.

A neuron fires where its potential is above the threshold, not at it. Its reset comes one step late:
whether the potential *before* the step was over the threshold decides what is taken from it *after* the
leak. Taken before the leak, that is threshold / beta; so a late subtraction is a soft reset of its own
amount, and a late reset of Leaky to zero is a hard reset. The others have equations of their own: a late
reset that takes the input of its step too (Lapicque and Synaptic to zero), one at once
(``reset_delay=False``), which takes a second threshold one step later where it is left, and none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikeloom.compiler.frontends.torch.libraries.library import (
    NEVER_REACHED,
    Equation,
    Library,
    NotTakenError,
    SpikingNeuron,
    fires_above_only,
    has_all,
    number,
)
from spikeloom.compiler.graph.ops.neuron import Neuron

SUBTRACT, ZERO, NONE = range(3)


def _leaky(module: Any) -> SpikingNeuron:
    beta = min(max(number(module.beta), 0.0), 1.0)
    return _with_reset(module, beta, 1.0, bool(module.reset_delay))


def _lapicque(module: Any) -> SpikingNeuron:
    """V' = (1 - dt / (R C)) v + x dt / C (snnTorch 1.0.0, ``Lapicque``); Euler, whatever beta is."""
    keep, gain = _euler(module)
    if int(module.reset_mechanism_val) == ZERO:
        return _dropped(module, [f"h = {keep!r} * v + {gain!r} * x"], ["v = 0"])
    return _with_reset(module, keep, gain, late=True)


def _euler(module: Any) -> tuple[float, float]:
    resistance, capacity, dt = number(module.R), number(module.C), number(module.time_step)
    return 1.0 - dt / (resistance * capacity), resistance * (1 / (resistance * capacity)) * dt


def _synaptic(module: Any) -> SpikingNeuron:
    """I' = alpha i + x ; v' = beta v + i' (snnTorch 1.0.0, ``Synaptic``)."""
    alpha, beta = (min(max(number(value), 0.0), 1.0) for value in (module.alpha, module.beta))
    if int(module.reset_mechanism_val) == ZERO and bool(module.reset_delay):
        return _dropped(module, [f"i = {alpha!r} * i + x", f"h = {beta!r} * v + i"], ["i = 0", "v = 0"])
    return _with_reset(module, beta, 1.0, bool(module.reset_delay), alpha)


def _with_reset(
    module: Any, keep: float, gain: float, late: bool, current: float | None = None
) -> SpikingNeuron:
    """A neuron whose reset takes nothing but what its potential holds."""
    _check_settings(module)
    threshold, factor = number(module.threshold), number(getattr(module, "graded_spikes_factor", 1.0))
    reset = int(module.reset_mechanism_val)
    strict = fires_above_only(module.spike_grad)
    if threshold <= 0 or factor <= 0:
        raise NotTakenError(f"a threshold of {threshold} and a graded_spikes_factor of {factor}")
    if reset == NONE or (reset == SUBTRACT and (not late or keep <= 0)):
        return _equations(module, keep, gain, current, late)
    lost = threshold / keep if reset == SUBTRACT and late else None
    kind: Any = "soft" if reset == SUBTRACT else "hard"
    return Neuron(
        keep,
        gain,
        threshold,
        reset=kind,
        strict=strict,
        divisor=1 / factor,
        current_decay=current,
        reset_by=lost,
    )


def _equations(module: Any, keep: float, gain: float, current: float | None, late: bool) -> SpikingNeuron:
    """No reset, a late one of a neuron that keeps nothing, or one at once.

    The one at once takes one threshold; where more is left than that, the next step takes another.
    """
    driven = "x" if current is None else "i"
    states = ["v = 0"] if current is None else ["i = 0", "v = 0"]
    update = [] if current is None else [f"i = {current!r} * i + x"]
    update.append(f"h = {keep!r} * v + {gain!r} * {driven}")
    if int(module.reset_mechanism_val) == SUBTRACT:
        threshold, sign = number(module.threshold), ">" if fires_above_only(module.spike_grad) else ">="
        if not late:
            over = [f"r = v {sign} {threshold!r}", *update, f"v = h - r * {threshold!r}"]
            return _declared(module, states, over, [f"v = v - (s - r) * {threshold!r}"])
        states.append("r = 0")
        return _declared(module, states, [*update, f"v = h - r * {threshold!r}"], ["r = s"])
    return _declared(module, states, [*update, "v = h"], [])


def _dropped(module: Any, update: list[str], states: list[str]) -> SpikingNeuron:
    """A late reset to zero that takes the input of its step too."""
    return _declared(module, [*states, "r = 0"], [*update, "v = h - r * h"], ["r = s"])


def _declared(module: Any, states: list[str], update: list[str], reset: list[str]) -> SpikingNeuron:
    _check_settings(module)
    if number(getattr(module, "graded_spikes_factor", 1.0)) != 1:
        raise NotTakenError("a graded_spikes_factor with this reset")
    sign = ">" if fires_above_only(module.spike_grad) else ">="
    return Neuron.from_equations(states, update, f"v {sign} {number(module.threshold)!r}", reset)


def _check_settings(module: Any) -> None:
    strange = [name for name in ("inhibition", "state_quant") if getattr(module, name, False)]
    if strange:
        raise NotTakenError(f"{' and '.join(strange)} of snnTorch")


EQUATIONS: dict[str, Equation] = {"Leaky": _leaky, "Lapicque": _lapicque, "Synaptic": _synaptic}
_FEEDBACK = "its spikes come back through weights of its own: put them into layers that are seen"
REFUSED = {
    "RLeaky": _FEEDBACK,
    "RSynaptic": _FEEDBACK,
    "SLSTM": "it is a long short-term memory with real-valued gates",
    "SConv2dLSTM": "it is a long short-term memory with real-valued gates",
    "Alpha": "its three states have no integer form here; declare them with Neuron.from_equations",
    "LeakyParallel": "it has weights of its own: use Linear and Leaky",
    "StateLeaky": "it is a convolution over all time steps: use Leaky",
}


def _reset(module: Any) -> None:
    for name in ("mem", "syn"):
        if isinstance(getattr(module, name, None), Tensor):
            setattr(module, name, torch.zeros(0, dtype=getattr(module, name).dtype))


def _potential(module: Any) -> Tensor | None:
    mem = getattr(module, "mem", None)
    return mem if isinstance(mem, Tensor) and mem.numel() else None


def _result(module: Any, spikes: Tensor, potentials: Tensor) -> Any:
    if module.init_hidden and not module.output:
        return spikes
    return (spikes, potentials, potentials) if hasattr(module, "syn") else (spikes, potentials)


def _leak(module: Any) -> Neuron | None:
    """Without a reset, potentials are leaky sums of the input, whatever is sent."""
    if int(module.reset_mechanism_val) != NONE or type(module).__name__ not in EQUATIONS:
        return None
    _check_settings(module)
    if type(module).__name__ == "Lapicque":
        keep, gain = _euler(module)
        return Neuron(keep, gain, NEVER_REACHED)
    beta = min(max(number(module.beta), 0.0), 1.0)
    alpha = min(max(number(module.alpha), 0.0), 1.0) if hasattr(module, "alpha") else None
    return Neuron(beta, 1.0, NEVER_REACHED, current_decay=alpha)


SNNTORCH = Library(
    name="snnTorch",
    owns=lambda module: has_all(module, "reset_mechanism_val", "spike_grad", "threshold", "init_hidden"),
    equations=EQUATIONS,
    refused=REFUSED,
    reset=_reset,
    potential=_potential,
    one_step=lambda module: True,
    leak=_leak,
    result=_result,
)
