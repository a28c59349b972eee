"""Spiking neurons of PyTorch libraries: found by their structure, and held to their equation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.errors import Problem, UnsupportedError

PROBES = 4
PROBE_STEPS = 12
PROBE_WIDTH = 64

Equation = Callable[[Any], Neuron]


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


EQUATIONS: dict[str, Equation] = {
    "IFNode": _integrate,
    "SimpleIFNode": _integrate,
    "LIFNode": lambda module: _leaky(module, 1.0 / float(module.tau)),
    "SimpleLIFNode": lambda module: _leaky(module, 1.0 / float(module.tau)),
    "ParametricLIFNode": lambda module: _leaky(module, float(module.w.detach().sigmoid())),
}
"""Equation by class name. A subclass may change the equation, so its own name must be listed."""


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is a spiking neuron layer: it has a threshold and no layers inside."""
    return hasattr(module, "v_threshold") and not any(hasattr(m, "v_threshold") for m in module.children())


def find_neurons(model: nn.Module) -> dict[str, nn.Module]:
    """Every spiking neuron layer of a model by its path, in the order of the model."""
    return {path: module for path, module in model.named_modules() if is_neuron(module)}


def read_neurons(model: nn.Module) -> dict[str, Neuron]:
    """The equation of every neuron layer, each proved on the module itself.

    Raises:
        UnsupportedError: SL0304 and SL0305 for every layer whose class is not known, or which
            disagrees with the equation of its class.
    """
    neurons: dict[str, Neuron] = {}
    problems = []
    for path, module in find_neurons(model).items():
        equation = _equation_of(module)
        if equation is None:
            problems.append(_unknown(path, module))
            continue
        neurons[path] = equation(module)
        if fault := probe(module, neurons[path]):
            problems.append(Problem("SL0305", path, fault, remedy="report this neuron's class and settings"))
    if problems:
        raise UnsupportedError(problems)
    return neurons


def probe(module: nn.Module, neuron: Neuron, seed: int = 0) -> str:
    """Drive a module and an equation with the same random currents; return the disagreement or "".

    The first sequence reaches the threshold exactly, so that >= and > are told apart.
    """
    random = np.random.default_rng(seed)
    reach = (neuron.threshold - neuron.v_reset) / neuron.gain
    for trial in range(PROBES):
        currents = random.normal(0.6 * reach, reach, (PROBE_STEPS, 1, PROBE_WIDTH))
        if trial == 0:
            currents[0] = (neuron.threshold - neuron.decay * neuron.v_reset - neuron.drift) / neuron.gain
        expected = _run_equation(neuron, currents)
        got = _run_module(module, currents)
        if not np.array_equal(expected, got):
            step, _, unit = np.argwhere(expected != got)[0]
            return (
                f"{type(module).__name__} disagrees with its equation at step {step} of probe {trial}: "
                f"currents {np.round(currents[: step + 1, 0, unit], 4).tolist()}, equation "
                f"{expected[: step + 1, 0, unit].tolist()}, module {got[: step + 1, 0, unit].tolist()}"
            )
    return ""


def reset_states(model: nn.Module) -> None:
    """Put every stateful module back to its start, as SpikingJelly's ``reset_net`` does."""
    for module in model.modules():
        reset = getattr(module, "reset", None)
        if callable(reset):
            reset()


def _equation_of(module: nn.Module) -> Equation | None:
    return EQUATIONS.get(type(module).__name__)


def _run_equation(neuron: Neuron, currents: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    rest = neuron.v_reset if neuron.reset == "hard" else 0.0
    state = {"v": np.full(currents.shape[1:], rest)}
    spikes = []
    for current in currents:
        (s,), state = neuron.step((current,), state)
        spikes.append(s)
    return np.stack(spikes)


@torch.no_grad()
def _run_module(module: nn.Module, currents: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    twin: Any = copy.deepcopy(module).double().eval()
    twin.reset()
    sequence = torch.from_numpy(currents)
    if getattr(twin, "step_mode", "m") == "m":
        spikes: Tensor = twin(sequence)
    else:
        spikes = torch.stack([twin(current) for current in sequence])
    return spikes.numpy()


def _unknown(path: str, module: nn.Module) -> Problem:
    return Problem(
        "SL0304",
        path,
        f"the neuron {type(module).__name__} is not known",
        wanted=" or ".join(sorted(EQUATIONS)),
        remedy="use one of these, or report the class with its equation",
    )
