"""Neurons of snnTorch 1.0.0: Leaky, Lapicque and Synaptic, and the recurrent ones, with their kinds of reset.

A neuron fires where its potential is above the threshold, not at it. Its reset comes one step late:
whether the potential *before* the step was over the threshold decides what is taken from it *after* the
leak. Taken before the leak, that is threshold / beta; so a late subtraction is a soft reset of its own
amount, and a late reset of Leaky to zero is a hard reset. The others have equations of their own: a late
reset that takes the input of its step too (Lapicque and Synaptic to zero), one at once
(``reset_delay=False``), which takes a second threshold one step later where it is left, and none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikeloom.compiler.frontends.torch.libraries.feedback import looped, own_weight, stored
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
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.neuron import Neuron

RESETS = ("subtract", "zero", "none")
SUBTRACT, ZERO, NONE = range(len(RESETS))


@dataclass(frozen=True)
class _Dynamics:
    """What a neuron does between spikes: i' = current i + x ; h = keep v + gain (i' or x).

    Attributes:
        keep, gain, current: numbers, or one for each channel; ``current`` is None where there is none.
        late: whether a reset comes with the next step.
        takes_input: whether a late reset to zero takes the input of its step too.
    """

    keep: Array
    gain: Array = field(default_factory=lambda: np.ones(()))
    current: Array | None = None
    late: bool = True
    takes_input: bool = True


def _leaky(module: Any) -> SpikingNeuron:
    return _neuron(module, _Dynamics(_share(module.beta), late=bool(module.reset_delay), takes_input=False))


def _lapicque(module: Any) -> SpikingNeuron:
    """V' = (1 - dt / (R C)) v + x dt / C (snnTorch 1.0.0, ``Lapicque``); Euler, whatever beta is."""
    keep, gain = _euler(module)
    return _neuron(module, _Dynamics(np.array(keep), np.array(gain)))


def _synaptic(module: Any) -> SpikingNeuron:
    """I' = alpha i + x ; v' = beta v + i' (snnTorch 1.0.0, ``Synaptic``)."""
    keep, current = _share(module.beta), _share(module.alpha)
    return _neuron(module, _Dynamics(keep, current=current, late=bool(module.reset_delay)))


def _recurrent(plain: Equation) -> Equation:
    """A neuron that takes ``recurrent(spk)`` of the step before too (snnTorch 1.0.0, ``RLeaky``)."""

    def equation(module: Any) -> SpikingNeuron:
        neuron = plain(module)
        if not isinstance(neuron, Neuron):
            reset = RESETS[int(module.reset_mechanism_val)]
            raise NotTakenError(
                f"a reset {reset!r} with reset_delay={bool(module.reset_delay)}, or a parameter for each "
                "channel, in a recurrent layer; known are 'subtract' and, with reset_delay=False, 'zero', of "
                "one beta above zero and one threshold"
            )
        way = module.recurrent
        if hasattr(way, "V"):
            return looped(neuron, own_weight(way.V))
        if not isinstance(way, torch.nn.Linear):
            raise NotTakenError(f"a {type(way).__name__} by which its spikes come back")
        return looped(neuron, way.weight.detach().double().numpy(), bias=stored(way.bias))

    return equation


def _recurrent_leaky(module: Any) -> SpikingNeuron:
    return _neuron(module, _Dynamics(_share(module.beta), late=bool(module.reset_delay)))


def _euler(module: Any) -> tuple[float, float]:
    resistance, capacity, dt = number(module.R), number(module.C), number(module.time_step)
    return 1.0 - dt / (resistance * capacity), resistance * (1 / (resistance * capacity)) * dt


def _share(value: Any) -> Array:
    """What is left after a step, within 0 and 1: a number, or one for each channel."""
    return np.clip(_plain(value), 0.0, 1.0)


def _plain(value: Any) -> Array:
    """A parameter as a number where all channels have the same, else as an array."""
    array: Array = torch.as_tensor(value).detach().double().numpy()
    same = array.size and bool((array == array.reshape(-1)[0]).all())
    return np.array(array.reshape(-1)[0]) if same else array


def _neuron(module: Any, moves: _Dynamics) -> SpikingNeuron:
    """As a plain neuron where its reset can be one, else by its equations."""
    strange = [name for name in ("inhibition", "state_quant") if getattr(module, name, False)]
    if strange:
        raise NotTakenError(f"{' and '.join(strange)} of snnTorch")
    threshold, factor = _plain(module.threshold), number(getattr(module, "graded_spikes_factor", 1.0))
    if (threshold <= 0).any() or factor <= 0:
        raise NotTakenError(f"a threshold of {threshold.min()} and a graded_spikes_factor of {factor}")
    reset = int(module.reset_mechanism_val)
    plain = all(a is None or a.ndim == 0 for a in (moves.keep, moves.gain, moves.current, threshold))
    subtracts = reset == SUBTRACT and moves.late and bool((moves.keep > 0).all())
    clears = reset == ZERO and not (moves.late and moves.takes_input)
    if not plain or not (subtracts or clears):
        if factor != 1:
            raise NotTakenError("a graded_spikes_factor with this reset")
        return _written(module, moves, threshold, reset)
    return Neuron(
        float(moves.keep),
        float(moves.gain),
        float(threshold),
        reset="soft" if subtracts else "hard",
        strict=fires_above_only(module.spike_grad),
        divisor=1 / factor,
        current_decay=None if moves.current is None else float(moves.current),
        reset_by=float(threshold / moves.keep) if subtracts else None,
        late=moves.late,
    )


def _written(module: Any, moves: _Dynamics, threshold: Array, reset: int) -> SpikingNeuron:
    """The equations. ``r`` is whether the potential before the step was over the threshold.

    A reset at once takes one threshold; where more is left than that, the next step takes another.
    """
    sign = ">" if fires_above_only(module.spike_grad) else ">="
    arrays: dict[str, Array] = {}

    def say(name: str, value: Array) -> str:
        if value.ndim == 0:
            return repr(float(value))
        arrays[name] = value
        return name

    keep, gain, over = say("beta", moves.keep), say("gain", moves.gain), say("threshold", threshold)
    states, update, driven = ["v = 0"], [], "x"
    if moves.current is not None:
        states, update, driven = ["i = 0", "v = 0"], [f"i = {say('alpha', moves.current)} * i + x"], "i"
    left = "(v - r * v)" if reset == ZERO and moves.late and not moves.takes_input else "v"
    update.append(f"h = {keep} * {left} + {gain} * {driven}")
    taken = {SUBTRACT: f" - r * {over}", ZERO: " - r * h" if left == "v" and moves.late else "", NONE: ""}[
        reset
    ]
    update.append(f"v = h{taken}")
    after = []
    if reset != NONE and moves.late:
        states, after = [*states, "r = 0"], ["r = s"]
    elif reset == SUBTRACT:
        update, after = [f"r = v {sign} {over}", *update], [f"v = v - (s - r) * {over}"]
    elif reset == ZERO:
        after = ["v = v - s * v"]
    return Neuron.from_equations(states, update, f"v {sign} {over}", after, arrays)


EQUATIONS: dict[str, Equation] = {
    "Leaky": _leaky,
    "Lapicque": _lapicque,
    "Synaptic": _synaptic,
    "RLeaky": _recurrent(_recurrent_leaky),
    "RSynaptic": _recurrent(_synaptic),
}
REFUSED = {
    "SLSTM": "it is a long short-term memory with real-valued gates",
    "SConv2dLSTM": "it is a long short-term memory with real-valued gates",
    "Alpha": "its three states have no integer form here; declare them with Neuron.from_equations",
    "LeakyParallel": "it has weights of its own: use Linear and Leaky",
    "StateLeaky": "it is a convolution over all time steps: use Leaky",
}


def _reset(module: Any) -> None:
    for name in ("mem", "syn", "spk"):
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
    known = type(module).__name__ in EQUATIONS and not hasattr(module, "recurrent")
    if int(module.reset_mechanism_val) != NONE or not known:
        return None
    if type(module).__name__ == "Lapicque":
        keep, gain = _euler(module)
        return Neuron(keep, gain, NEVER_REACHED)
    shares = [_share(module.beta), _share(getattr(module, "alpha", 0.0))]
    if any(share.ndim for share in shares):
        return None
    keep, current = map(float, shares)
    return Neuron(keep, 1.0, NEVER_REACHED, current_decay=current if hasattr(module, "alpha") else None)


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
