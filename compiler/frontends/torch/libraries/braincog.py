"""Neurons of BrainCog 0.2.7.19 (and of STEP, which is built on it): IFNode, LIFNode, PLIFNode.

    LIF: v' = v + (x - v) / tau ; PLIF: v' = v + dt (x - v) sigmoid(w) ; IF: v' = v + dt x

A spike clears the potential to 0, whatever ``v_reset`` says. Whether a potential of exactly the threshold
fires is the surrogate function's choice, and is asked of it. A call takes one time step.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spikeloom.compiler.frontends.torch.libraries.library import (
    Equation,
    Library,
    NotTakenError,
    SpikingNeuron,
    fires_above_only,
    has_all,
    number,
)
from spikeloom.compiler.graph.ops.neuron import Neuron


def _neuron(module: Any, keep: float, gain: float, bounded: bool) -> SpikingNeuron:
    if module.layer_by_layer:
        raise NotTakenError("layer_by_layer, which folds time and samples: set it to False, one step a call")
    if module.v_reset or getattr(module, "groups", 1) != 1:
        raise NotTakenError(f"a v_reset of {module.v_reset} or {module.groups} groups of time steps")
    threshold = module.threshold.detach().double()
    reached = number(threshold.sigmoid() if bounded and module.sigmoid_thres else threshold)
    return Neuron(keep, gain, reached, strict=fires_above_only(module.act_fun))


def _leaky(module: Any) -> SpikingNeuron:
    rate = 1.0 / number(module.tau)
    return _neuron(module, 1.0 - rate, rate, bounded=False)


def _parametric(module: Any) -> SpikingNeuron:
    rate = number(module.w.detach().double().sigmoid()) * float(module.dt)
    return _neuron(module, 1.0 - rate, rate, bounded=True)


def _integrate(module: Any) -> SpikingNeuron:
    return _neuron(module, 1.0, float(module.dt), bounded=True)


EQUATIONS: dict[str, Equation] = {"IFNode": _integrate, "LIFNode": _leaky, "PLIFNode": _parametric}
_CHANCE = "it adds noise, so that no two runs are alike"
_DECLARE = "declare its equations with Neuron.from_equations"
REFUSED = {
    "NoiseLIFNode": _CHANCE,
    "NoisePLIFNode": _CHANCE,
    "BurstLIFNode": "its spikes are bursts of other sizes than 0 and 1",
    "BackEINode": "its spikes come back through weights of its own",
    "BiasLIFNode": f"it adds 0.1 to its potential at each step; {_DECLARE}",
    "BiasPLIFNode": f"it adds 0.1 to its potential at each step; {_DECLARE}",
    "DoubleSidePLIFNode": f"a spike may be negative; {_DECLARE}",
    "IzhNode": f"it squares its potential; {_DECLARE}",
    "adth": f"its threshold adapts; {_DECLARE}",
    "HHNode": "it is a Hodgkin-Huxley neuron with exponentials",
    "LIAFNode": "it sends a real activation and no spikes",
}


def _potential(module: Any) -> Tensor | None:
    return module.mem if isinstance(module.mem, Tensor) else None


BRAINCOG = Library(
    name="BrainCog",
    owns=lambda module: has_all(module, "integral", "calc_spike", "n_reset", "threshold", "mem"),
    equations=EQUATIONS,
    refused=REFUSED,
    reset=lambda module: module.n_reset(),
    potential=_potential,
    one_step=lambda module: True,
)
