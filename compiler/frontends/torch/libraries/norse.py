"""Neurons of norse 1.1.0: LIF, LIFBox, IAF and the readouts LI, as cells of one step and as layers over time;
and LIF with weights for its input and for its own spikes.

    i' = i + x ; v' = v + dt tau_mem_inv (v_leak - v + i') ; i = i' (1 - dt tau_syn_inv)

They fire above the threshold, not at it, and get their state with each call; :mod:`.held` keeps it for
models that let it go.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spikeloom.compiler.frontends.torch.libraries.feedback import looped
from spikeloom.compiler.frontends.torch.libraries.held import forget, held
from spikeloom.compiler.frontends.torch.libraries.library import (
    NEVER_REACHED,
    Equation,
    Library,
    NotTakenError,
    SpikingNeuron,
    has_all,
    number,
)
from spikeloom.compiler.graph.ops.neuron import Neuron


def _current_based(module: Any) -> SpikingNeuron:
    rate, rest = _rate(module), number(module.p.v_leak)
    kept = 1.0 - number(module.dt * module.p.tau_syn_inv)
    return _neuron(module, 1.0 - rate, rate, rest, current_decay=kept)


def _boxed(module: Any) -> SpikingNeuron:
    rate, rest = _rate(module), number(module.p.v_leak)
    method = getattr(module.p, "reset_method", None)
    soft = getattr(method, "__name__", "") == "reset_subtract"
    return _neuron(module, 1.0 - rate, rate, rest, soft=soft)


def _integrate(module: Any) -> SpikingNeuron:
    return _neuron(module, 1.0, 1.0, number(module.p.v_reset))


def _rate(module: Any) -> float:
    return number(module.dt * module.p.tau_mem_inv)


def _neuron(
    module: Any,
    keep: float,
    gain: float,
    start: float,
    soft: bool = False,
    current_decay: float | None = None,
) -> SpikingNeuron:
    """A neuron that starts at ``start``, which is where it leaks to."""
    if module.p.method == "logistic":
        raise NotTakenError("spikes that are drawn by chance (method 'logistic')")
    rest = 0.0 if soft else number(module.p.v_reset)
    if start != rest:
        raise NotTakenError(f"it starts at {start} and is reset to {rest}")
    return Neuron(
        keep,
        gain,
        number(module.p.v_th),
        drift=gain * start if keep < 1 else 0.0,
        reset="soft" if soft else "hard",
        v_reset=rest,
        strict=True,
        current_decay=current_decay,
    )


def _readout(module: Any) -> Neuron:
    """The potential itself is what is sent (norse 1.1.0, ``LICell`` and ``LIBoxCell``)."""
    if number(module.p.v_leak) != 0:
        raise NotTakenError(f"a readout that leaks to {number(module.p.v_leak)}")
    rate, current = _rate(module), getattr(module.p, "tau_syn_inv", None)
    kept = None if current is None else 1.0 - number(module.dt * current)
    return Neuron(1.0 - rate, rate, NEVER_REACHED, current_decay=kept)


def _recurrent(module: Any) -> SpikingNeuron:
    """I' = i + A x + W s of the step before, and as LIF (norse 1.1.0, ``lif_step``)."""
    return looped(
        _current_based(module),
        module.recurrent_weights.detach().double().numpy(),
        module.input_weights.detach().double().numpy(),
    )


READOUTS = ("LICell", "LI", "LIBoxCell")
EQUATIONS: dict[str, Equation] = {
    "LIFCell": _current_based,
    "LIF": _current_based,
    "LIFBoxCell": _boxed,
    "IAFCell": _integrate,
    "IAF": _integrate,
    "LIFRecurrentCell": _recurrent,
    "LIFRecurrent": _recurrent,
    **dict.fromkeys(READOUTS, _readout),
}
_ADAPTS = "it has an adaptive threshold, and its spikes come back through weights of its own"
REFUSED = {
    "LSNNRecurrentCell": _ADAPTS,
    "LSNNRecurrent": _ADAPTS,
    "LIFExCell": "its potential is an exponential of itself, which no integer form here has",
    "LIFAdExCell": "its potential is an exponential of itself, which no integer form here has",
    "LSNNCell": "it has an adaptive threshold; declare its equations with Neuron.from_equations",
    "LIFRefracCell": "it has a dead time; declare its equations with Neuron.from_equations",
    "IzhikevichCell": "it squares its potential; declare its equations with Neuron.from_equations",
}


def _potential(module: Any) -> Tensor | None:
    v = getattr(held(module), "v", None)
    return v if isinstance(v, Tensor) and v.ndim else None


NORSE = Library(
    name="norse",
    owns=lambda module: has_all(module, "activation", "state_fallback", "p", "dt"),
    equations=EQUATIONS,
    refused=REFUSED,
    reset=forget,
    potential=_potential,
    one_step=lambda module: type(module).__name__.endswith("Cell"),
    leak=lambda module: _readout(module) if type(module).__name__ in READOUTS else None,
    result=lambda module, spikes, potentials: (
        potentials if type(module).__name__ in READOUTS else spikes,
        None,
    ),
    width=lambda module: int(getattr(module, "hidden_size", 0)),
)
