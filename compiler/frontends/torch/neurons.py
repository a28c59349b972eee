"""Spiking neurons of PyTorch libraries: found by their structure, and held to their equation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.memoryless import identify
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.errors import Problem, UnsupportedError

PROBES = 4
PROBE_STEPS = 12
PROBE_WIDTH = 64
TIES = 256
ROUNDING = 1e-9
"""Share of the threshold within which two ways to compute a potential in float64 may differ."""

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


def _integer_leaky(module: Any) -> Neuron:
    """Integer LIF (SpikingJelly 2.0.0, ``ILIFNode``): a count up to D, halves to even, a soft reset."""
    most = int(module.surrogate_function.max_spike_count)
    threshold = float(module.v_threshold)
    return Neuron(
        1.0 - 1.0 / float(module.tau), 1.0, threshold, reset="soft", levels=most, rounding="half_even"
    )


EQUATIONS: dict[str, Equation] = {
    "IFNode": _integrate,
    "SimpleIFNode": _integrate,
    "LIFNode": lambda module: _leaky(module, 1.0 / float(module.tau)),
    "SimpleLIFNode": lambda module: _leaky(module, 1.0 / float(module.tau)),
    "ParametricLIFNode": lambda module: _leaky(module, float(module.w.detach().double().sigmoid())),
    "ILIFNode": _integer_leaky,
    "MultiStepIFNode": _integrate,
    "MultiStepLIFNode": lambda module: _leaky(module, 1.0 / float(module.tau)),
    "MultiStepParametricLIFNode": lambda module: _leaky(module, float(module.w.detach().double().sigmoid())),
}
"""Equation by class name; the ``MultiStep`` ones are those of SpikingJelly before 0.0.0.0.14."""

OWN_SETTINGS = frozenset(
    {"__init__", "__module__", "__doc__", "__qualname__", "extra_repr", "__parameters__"}
)
"""What a subclass may define and still have the equation of its base."""


def _equation(module: nn.Module) -> Neuron:
    """The equation of the nearest listed class that the module's own class only gives settings to.

    Raises:
        KeyError: there is none, or a class in between changes what is computed.
    """
    for kind in type(module).__mro__:
        if kind.__name__ in EQUATIONS:
            return EQUATIONS[kind.__name__](module)
        if not OWN_SETTINGS.issuperset(name for name in vars(kind) if not name.startswith("__static")):
            break
    raise KeyError(type(module).__name__)


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is a spiking neuron layer: it has a threshold and no layers inside.

    A graded neuron without a memory has no threshold either: it is known by what it computes.
    """
    if hasattr(module, "v_threshold"):
        return not any(hasattr(m, "v_threshold") for m in module.children())
    return identify(module) is not None


def potential(module: Any) -> Tensor | None:
    """The membrane potential of a neuron layer; None if it has no memory."""
    v = getattr(module, "v", None)
    return v if isinstance(v, Tensor) else None


def find_neurons(model: nn.Module) -> dict[str, nn.Module]:
    """Every spiking neuron layer of a model by its path, in the order of the model."""
    found: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{other}.") for other in found)
        if not inside and is_neuron(module):
            found[path] = module
    return found


def read_neurons(model: nn.Module) -> dict[str, Neuron]:
    """The equation of every neuron layer by its path, each proved on random currents.

    Raises:
        UnsupportedError: SL0304 and SL0305 for every layer whose class is not known, or which
            disagrees with the equation of its class.
    """
    neurons, problems = survey_neurons(model)
    if problems:
        raise UnsupportedError(problems)
    return neurons


def survey_neurons(model: nn.Module) -> tuple[dict[str, Neuron], list[Problem]]:
    """The equation of every neuron layer that has one, and the problems of :func:`read_neurons`."""
    neurons: dict[str, Neuron] = {}
    problems: list[Problem] = []
    for path, module in find_neurons(model).items():
        try:
            neurons[path] = identify(module) or _equation(module)
        except (KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            problems.append(_unknown(path, module, error))
            continue
        if neurons[path].memoryless and identify(module) is not None:
            continue  # its equation was measured, not declared
        if fault := _probed(module, neurons[path]):
            problems.append(Problem("SL0305", path, fault, remedy="report this neuron's class and settings"))
    return neurons, problems


def probe(module: nn.Module, neuron: Neuron, seed: int = 0) -> str:
    """Drive a module and an equation with the same random currents; return the disagreement or "".

    The two round differently, so a potential within rounding of the threshold decides nothing.
    Whether a potential *at* the threshold fires is asked of the module's own potentials.
    """
    random = np.random.default_rng(seed)
    for trial in range(PROBES):
        reach = (neuron.threshold - neuron.v_reset) / neuron.gain
        currents = random.normal(0.6 * reach, reach, (PROBE_STEPS, 1, PROBE_WIDTH))
        expected, certain = _run_equation(neuron, currents)
        got, _ = _run_module(module, currents)
        if (certain & (expected != got)).any():
            step, _, unit = np.argwhere(certain & (expected != got))[0]
            return (
                f"{type(module).__name__} disagrees with its equation at step {step} of probe {trial}: "
                f"currents {np.round(currents[: step + 1, 0, unit], 4).tolist()}, equation "
                f"{expected[: step + 1, 0, unit].tolist()}, module {got[: step + 1, 0, unit].tolist()}"
            )
    return _probe_threshold(module, neuron, random)


def _probe_threshold(module: nn.Module, neuron: Neuron, random: np.random.Generator) -> str:
    """Bring many units to the threshold in two steps: some reach it to the last bit, and must fire."""
    reach = (neuron.threshold - neuron.v_reset) / neuron.gain
    currents = random.uniform(0, 0.5 * reach, (2, 1, TIES))
    first = neuron.decay * neuron.initial_potential + neuron.gain * currents[0] + neuron.drift
    currents[1] = (neuron.threshold - neuron.decay * first - neuron.drift) / neuron.gain
    spikes, potential = _run_module(module, currents)
    if ((spikes[-1] == 0) & (potential >= neuron.threshold)).any():
        return f"{type(module).__name__} does not fire when its potential is its threshold"
    return ""


def reset_states(model: nn.Module) -> None:
    """Put every stateful module back to its start, as SpikingJelly's ``reset_net`` does."""
    for module in model.modules():
        reset = getattr(module, "reset", None)
        if callable(reset):
            reset()


def _run_equation(neuron: Neuron, currents: Array) -> tuple[Array, Array]:
    """Spikes [steps, 1, units], and whether they would be the same at a threshold a little off."""
    margin = ROUNDING * (neuron.threshold - neuron.v_reset)
    below, above = (
        _spikes_of(replace(neuron, threshold=neuron.threshold + shift), currents)
        for shift in (-margin, margin)
    )
    return below, np.broadcast_to((below == above).all(0), below.shape)


def _spikes_of(neuron: Neuron, currents: Array) -> Array:
    state = {"v": np.full(currents.shape[1:], neuron.initial_potential)}
    spikes = []
    for current in currents:
        (s,), state = neuron.step((current,), state)
        spikes.append(s)
    return np.stack(spikes)


@torch.no_grad()
def _run_module(module: nn.Module, currents: Array) -> tuple[Array, Array]:
    """Spikes [steps, 1, units] of a copy in float64, and its potentials [1, units] at the end."""
    twin: Any = copy.deepcopy(module).double().eval()
    twin.reset()
    sequence = torch.from_numpy(currents)
    if getattr(twin, "step_mode", "m") == "m":
        spikes: Tensor = twin(sequence)
    else:
        spikes = torch.stack([twin(current) for current in sequence])
    return spikes.numpy(), twin.v.numpy()


def _probed(module: nn.Module, neuron: Neuron) -> str:
    try:
        return probe(module, neuron)
    except Exception as error:  # whatever the module's own code raises
        return f"{type(module).__name__} cannot be run alone: {type(error).__name__}: {error}"


def _unknown(path: str, module: nn.Module, error: Exception) -> Problem:
    name = type(module).__name__
    known = f"the neuron {name} has other parameters than the one that is known by this name: {error}"
    return Problem(
        "SL0304",
        path,
        known if name in EQUATIONS else f"the neuron {name} is not known",
        wanted=" or ".join(sorted(EQUATIONS)),
        remedy="use one of these, or report the class with its equation",
    )
