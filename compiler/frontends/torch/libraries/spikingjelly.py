"""Neurons of SpikingJelly: ``activation_based`` 2.0.0 and 0.0.0.0.14, ``clock_driven`` 0.0.0.0.12.

Modules of other origin that have a ``v_threshold`` are read by the same attributes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikeloom.compiler.frontends.torch.libraries.feedback import chained, looped, weight_of_sum
from spikeloom.compiler.frontends.torch.libraries.library import (
    Equation,
    Library,
    NotTakenError,
    SpikingNeuron,
    fires_above_only,
    number,
)
from spikeloom.compiler.graph.ops.neuron import Neuron


def _reset(module: Any) -> dict[str, Any]:
    if module.v_reset is None:
        return {"reset": "soft", "v_reset": 0.0}
    return {"reset": "hard", "v_reset": float(module.v_reset)}


def _leaky(module: Any, rate: float) -> Neuron:
    """A leak of ``rate`` = 1/tau per step toward v_reset (SpikingJelly 2.0.0, ``LIFNode``)."""
    rest = 0.0 if module.v_reset is None else float(module.v_reset)
    gain = rate if module.decay_input else 1.0
    return Neuron(1.0 - rate, gain, float(module.v_threshold), drift=rest * rate, **_reset(module))


def _integrate(module: Any) -> Neuron:
    return Neuron(1.0, 1.0, float(module.v_threshold), **_reset(module))


def _current_based(module: Any) -> Neuron:
    """C' = c_decay c + x ; v' = v_decay v + c' (SpikingJelly 2.0.0, ``CUBALIFNode``)."""
    if module.v_reset:
        raise NotTakenError(f"a synaptic current and a v_reset of {module.v_reset}")
    threshold, kept = float(module.v_threshold), float(module.c_decay)
    return Neuron(float(module.v_decay), 1.0, threshold, current_decay=kept, **_reset(module))


def _integer_leaky(module: Any) -> Neuron:
    """Integer LIF (SpikingJelly 2.0.0, ``ILIFNode``): a count up to D, halves to even, a soft reset."""
    most = int(module.surrogate_function.max_spike_count)
    threshold = float(module.v_threshold)
    return Neuron(
        1.0 - 1.0 / float(module.tau), 1.0, threshold, reset="soft", levels=most, rounding="half_even"
    )


def _ternary(module: Any, rate: float) -> SpikingNeuron:
    """Spikes of -1, 0 and 1 at two thresholds, both included (SpikingJelly 2.0.0, ``TernaryIFNode``)."""
    if not float(module.v_threshold) > 0 or fires_above_only(module.surrogate_function):
        raise NotTakenError(f"a threshold of {module.v_threshold}, or a surrogate that is silent at it")
    rest = 0.0 if module.v_reset is None else float(module.v_reset)
    gain = rate if rate and module.decay_input else 1.0
    threshold = float(module.v_threshold)
    after = f"v = v - s * {threshold!r}" if module.v_reset is None else f"v = where(abs(s), {rest!r}, v)"
    return Neuron.from_equations(
        [f"v = {rest!r}"],
        [f"v = {1 - rate!r} * v + {gain!r} * x + {rate * rest!r}"],
        f"(v >= {threshold!r}) - (v <= {-threshold!r})",
        [after],
    )


def _counting(module: Any) -> SpikingNeuron:
    """V' = v + x ; s = round(clip(v', 0, D)) ; v = (1 - s) v' + s v_reset.

    The reset is that of plain spikes, whatever the count (Spike-driven Transformer V3, ``Q_IFNode``).
    """
    probes = torch.tensor([-3.0, 0.5, 1.5, 2.5, 1e4])
    seen = module.surrogate_function(probes).tolist()
    most = int(seen[-1])
    if seen != torch.round(probes.clamp(0, most)).tolist() or most < 1:
        raise NotTakenError("its surrogate function does not round to counts, halves to even")
    rest = None if module.v_reset is None else float(module.v_reset)
    after = f"v - s * {float(module.v_threshold)!r}" if rest is None else f"(1 - s) * v + s * {rest!r}"
    start = f"v = {rest or 0.0!r}"
    return Neuron.from_equations([start], ["v = v + x"], f"round_half_even(v, {most})", [f"v = {after}"])


def _sliding_window(module: Any) -> SpikingNeuron:
    """h(t) = sum of W_i x(t - k + 1 + i) + b ; s = 1 if h >= 0 (SpikingJelly 2.0.0, ``SlidingPSN``)."""
    weights = module.weight.detach().double().reshape(-1).tolist()
    *past, now = weights
    taps = [f"p{age}" for age in range(1, len(weights))]
    terms = [f"{now!r} * x", *(f"{w!r} * {tap}" for w, tap in zip(reversed(past), taps, strict=True))]
    shifts = [f"p{age} = p{age - 1}" for age in range(len(past), 1, -1)] + ["p1 = x"] * bool(past)
    sign = ">" if fires_above_only(module.surrogate_function) else ">="
    update = [f"h = {' + '.join(terms)}", *shifts]
    return Neuron.from_equations([f"{tap} = 0" for tap in taps], update, f"h {sign} {-number(module.bias)!r}")


def _linear_loop(module: Any) -> SpikingNeuron:
    """i[t] = rc([x[t], y[t-1]]) (SpikingJelly 2.0.0, ``LinearRecurrentContainer``)."""
    inputs = module.rc.in_features - int(module.sub_module_out_features)
    neuron, ahead, back, bias = chained(module, inputs=inputs)
    return looped(_inner(neuron), back, ahead, bias)


def _element_wise_loop(module: Any) -> SpikingNeuron:
    """i[t] = f(y[t-1], x[t]) (SpikingJelly 2.0.0, ``ElementWiseRecurrentContainer``)."""
    return looped(_inner(module.sub_module), weight_of_sum(module.element_wise_function))


def _inner(neuron: Any) -> SpikingNeuron:
    name = type(neuron).__name__
    if name not in EQUATIONS or name in CONTAINERS:
        raise NotTakenError(f"{name} inside")
    return EQUATIONS[name](neuron)


CONTAINERS = ("LinearRecurrentContainer", "ElementWiseRecurrentContainer")
"""Recurrent layers around a neuron."""

EQUATIONS: dict[str, Equation] = {
    "LinearRecurrentContainer": _linear_loop,
    "ElementWiseRecurrentContainer": _element_wise_loop,
    "IFNode": _integrate,
    "SimpleIFNode": _integrate,
    "LIFNode": lambda module: _leaky(module, 1.0 / float(module.tau)),
    "SimpleLIFNode": lambda module: _leaky(module, 1.0 / float(module.tau)),
    "ParametricLIFNode": lambda module: _leaky(module, float(module.w.detach().double().sigmoid())),
    "CUBALIFNode": _current_based,
    "ILIFNode": _integer_leaky,
    "TernaryIFNode": lambda module: _ternary(module, 0.0),
    "TernaryLIFNode": lambda module: _ternary(module, 1.0 / float(module.tau)),
    "SlidingPSN": _sliding_window,
    "Q_IFNode": _counting,
    "MultiStepIFNode": _integrate,
    "MultiStepLIFNode": lambda module: _leaky(module, 1.0 / float(module.tau)),
    "MultiStepParametricLIFNode": lambda module: _leaky(module, float(module.w.detach().double().sigmoid())),
}
"""Equation by class name; the ``MultiStep`` ones are those of SpikingJelly before 0.0.0.0.14."""

_DECLARE = "declare its equations with Neuron.from_equations"
REFUSED = {
    "QIFNode": f"its potential is squared at each step; {_DECLARE}",
    "EIFNode": "its potential is an exponential of itself, which no integer form here has",
    "IzhikevichNode": f"it has a second state and squares the first; {_DECLARE}",
    "KLIFNode": f"it scales and rectifies its potential; {_DECLARE}",
    "LIAFNode": "it sends a real activation and no spikes",
    "GatedLIFNode": f"each time step has parameters of its own; {_DECLARE}",
    "ComplementaryLIFNode": "its second state goes through a sigmoid, which no integer form here has",
    "MPBNLIFNode": "a batch norm runs on its potential",
    "RAFNode": f"it is an oscillator with two states; {_DECLARE}",
    "STBIFNode": f"a spike may be negative, and depends on the spikes so far; {_DECLARE}",
    "PSN": "each time step needs all others, also those to come: it runs offline only; train with SlidingPSN",
    "MaskedPSN": "each time step has weights of its own: it runs offline only; train with SlidingPSN",
}
"""Classes that are known to have no counterpart, and what a user can do."""


PARALLEL = ("PSN", "MaskedPSN", "SlidingPSN")
"""Neurons without a threshold of that name: they have weights over time."""


def _reset_module(module: Any) -> None:
    reset = getattr(module, "reset", None)
    if callable(reset):
        reset()


def _potential(module: Any) -> Tensor | None:
    v = getattr(module, "v", None)
    return v if isinstance(v, Tensor) else None


SPIKINGJELLY = Library(
    name="SpikingJelly",
    owns=lambda module: hasattr(module, "v_threshold") or type(module).__name__ in (*PARALLEL, *CONTAINERS),
    equations=EQUATIONS,
    refused=REFUSED,
    reset=_reset_module,
    potential=_potential,
    one_step=lambda module: getattr(module, "step_mode", "m") != "m",
    wraps=lambda module: type(module).__name__ in CONTAINERS,
    width=lambda module: int(getattr(module, "sub_module_out_features", 0)),
)
