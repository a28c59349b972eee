"""Spiking neurons of PyTorch libraries: found by their structure, and held to their equation.

What is known of each library is in :mod:`spikeloom.compiler.frontends.torch.libraries`; what users declare
of their own modules comes from :func:`spikeloom.declare_neuron`.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom.compiler.frontends.declared import declared_equation, is_declared
from spikeloom.compiler.frontends.torch.libraries.braincog import BRAINCOG
from spikeloom.compiler.frontends.torch.libraries.held import holding
from spikeloom.compiler.frontends.torch.libraries.library import (
    NEVER_REACHED,
    Library,
    NotTakenError,
    SpikingNeuron,
)
from spikeloom.compiler.frontends.torch.libraries.norse import NORSE
from spikeloom.compiler.frontends.torch.libraries.snntorch import SNNTORCH
from spikeloom.compiler.frontends.torch.libraries.spikingjelly import EQUATIONS as EQUATIONS
from spikeloom.compiler.frontends.torch.libraries.spikingjelly import SPIKINGJELLY
from spikeloom.compiler.frontends.torch.memoryless import identify
from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.errors import Problem, SpikeloomError, UnsupportedError

LIBRARIES = (SNNTORCH, NORSE, BRAINCOG, SPIKINGJELLY)
"""Asked in this order whether a module is theirs; the last also reads modules of other origin."""

PROBES = 4
PROBE_STEPS = 12
PROBE_WIDTH = 64
TIES = 256
ROUNDING = 1e-9
"""Share of the threshold within which two ways to compute a potential in float64 may differ."""
REACHES = [2.0**exponent for exponent in range(-8, 9)]
"""Sizes of currents that are tried on a neuron whose threshold is not known."""
RATES = (0.05, 0.7)

OWN_SETTINGS = frozenset(
    {"__init__", "__module__", "__doc__", "__qualname__", "extra_repr", "__parameters__"}
)
"""What a subclass may define and still have the equation of its base."""


def library_of(module: nn.Module) -> Library:
    """The library that a neuron is of."""
    return next((library for library in LIBRARIES if library.owns(module)), SPIKINGJELLY)


def _equation(module: nn.Module) -> SpikingNeuron:
    """The equation of the nearest listed class that the module's own class only gives settings to.

    Raises:
        KeyError: there is none, or a class in between changes what is computed.
    """
    equations = library_of(module).equations
    for kind in type(module).__mro__:
        if kind.__name__ in equations:
            return equations[kind.__name__](module)
        if not OWN_SETTINGS.issuperset(name for name in vars(kind) if not name.startswith("__static")):
            break
    raise KeyError(type(module).__name__)


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is a spiking neuron layer: declared, or of a library, and no layers inside.

    A graded neuron without a memory has no threshold either: it is known by what it computes.
    """
    if is_declared(module):
        return True
    if any(library.owns(module) and library.wraps(module) for library in LIBRARIES):
        return True
    if any(library.owns(module) for library in LIBRARIES):
        return not any(library.owns(m) for library in LIBRARIES for m in module.children())
    return identify(module) is not None


def potential(module: Any) -> Tensor | None:
    """The membrane potential of a neuron layer; None if it has no memory."""
    return library_of(module).potential(module)


def spikes_of(result: Any) -> Tensor:
    """What a neuron layer sends, of all that a call of it returns."""
    spikes: Tensor = result[0] if isinstance(result, tuple) else result
    return spikes


def holders(model: nn.Module) -> list[nn.Module]:
    """The neurons of a model that are given their state with each call."""
    return [module for module in model.modules() if NORSE.owns(module)]


def find_neurons(model: nn.Module) -> dict[str, nn.Module]:
    """Every spiking neuron layer of a model by its path, in the order of the model."""
    found: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{other}.") for other in found)
        if not inside and is_neuron(module):
            found[path] = module
    return found


def read_neurons(model: nn.Module) -> dict[str, SpikingNeuron]:
    """The equation of every neuron layer by its path, each proved on random currents.

    Raises:
        UnsupportedError: SL0304 and SL0305 for every layer whose class is not known, or which
            disagrees with the equation of its class.
    """
    neurons, problems = survey_neurons(model)
    if problems:
        raise UnsupportedError(problems)
    return neurons


def survey_neurons(model: nn.Module) -> tuple[dict[str, SpikingNeuron], list[Problem]]:
    """The equation of every neuron layer that has one, and the problems of :func:`read_neurons`."""
    neurons: dict[str, SpikingNeuron] = {}
    problems: list[Problem] = []
    for path, module in find_neurons(model).items():
        try:
            own = declared_equation(module)
            neurons[path] = own or identify(module) or _equation(module)
        except (KeyError, AttributeError, TypeError, ValueError, RuntimeError, SpikeloomError) as error:
            problems.append(_unknown(path, module, error))
            continue
        if own is None and neurons[path].memoryless and identify(module) is not None:
            continue  # its equation was measured, not declared
        if fault := _probed(module, neurons[path]):
            problems.append(Problem("SL0305", path, fault, remedy="report this neuron's class and settings"))
    return neurons, problems


def probe(module: nn.Module, neuron: SpikingNeuron) -> str:
    """Drive a module and an equation with the same random currents; return the disagreement or "".

    The two round differently, so a potential within rounding of the threshold decides nothing.
    Whether a potential *at* the threshold fires is asked of the module's own potentials.
    """
    random = np.random.default_rng(0)
    reach = _reach(neuron)
    if reach == 0:
        return f"the equation of {type(module).__name__} does not fire on currents of any size"
    for trial in range(PROBES):
        currents = random.normal(0.6 * reach, reach, (PROBE_STEPS, *_shape(neuron, PROBE_WIDTH)))
        expected, certain = run_equation(neuron, currents)
        got, _ = _run_module(module, currents)
        if (certain & (expected != got)).any():
            step, *unit = (int(place) for place in np.argwhere(certain & (expected != got))[0])
            until: Any = (slice(step + 1), *unit)
            return (
                f"{type(module).__name__} disagrees with its equation at step {step} of probe {trial}: "
                f"currents {np.round(currents[until], 4).tolist()}, equation "
                f"{expected[until].tolist()}, module {got[until].tolist()}"
            )
    if isinstance(neuron, Neuron):
        return _probe_threshold(module, neuron, random)
    return _probe_ties(module, neuron, reach, random)


def _reach(neuron: SpikingNeuron) -> float:
    """The size of currents that make a neuron fire now and then; 0.0 if none does."""
    if isinstance(neuron, Neuron):
        return (neuron.threshold - neuron.v_reset) / neuron.gain
    fired = {}
    for reach in REACHES:
        currents = np.random.default_rng(0).normal(
            0.6 * reach, reach, (PROBE_STEPS, *_shape(neuron, PROBE_WIDTH))
        )
        fired[reach] = float((_spikes_of(neuron, currents) != 0).mean())
        if RATES[0] <= fired[reach] <= RATES[1]:
            return reach
    if isinstance(neuron, FeedbackNeuron):  # which may go on firing once it has begun
        return next((reach for reach, rate in fired.items() if 0 < rate < 1), 0.0)
    return 0.0


def _shape(neuron: SpikingNeuron, units: int) -> tuple[int, ...]:
    """Samples and neurons of a probe; parameters that differ from channel to channel have their own shape."""
    if isinstance(neuron, FeedbackNeuron):
        weight = neuron.weight if neuron.ahead is None else neuron.ahead
        own = weight.shape[-1:] if weight.ndim == 2 else weight.shape or (units,)
        return (max(1, units // max(1, int(np.prod(own)))), *own)
    if isinstance(neuron, Neuron) or neuron.values is None:
        return (1, units)
    own = neuron.values.shape[1:]
    return (max(1, units // max(1, neuron.values[0].size)), *own)


def _probe_threshold(module: nn.Module, neuron: Neuron, random: np.random.Generator) -> str:
    """Bring many units to the threshold in two steps: some reach it to the last bit."""
    reach = _reach(neuron)
    currents = random.uniform(0, 0.5 * reach, (2, 1, TIES))
    driven = neuron.gain * currents[0]
    first = neuron.decay * neuron.initial_potential + driven + neuron.drift
    carried = 0.0 if neuron.current_decay is None else neuron.current_decay * driven
    currents[1] = (neuron.threshold - neuron.decay * first - neuron.drift - carried) / neuron.gain
    spikes, potential = _run_module(module, currents)
    if potential is None:
        return ""
    silent = spikes[-1] == 0
    if neuron.strict:
        if not (silent & (potential == neuron.threshold)).any():
            return f"{type(module).__name__} does not stay silent when its potential is its threshold"
    elif (silent & (potential >= neuron.threshold)).any():
        return f"{type(module).__name__} does not fire when its potential is its threshold"
    return ""


def _probe_ties(module: nn.Module, neuron: SpikingNeuron, reach: float, random: np.random.Generator) -> str:
    """Drive both with few different currents, so that many decisions are ties, in the first step."""
    currents = random.integers(-64, 65, (1, *_shape(neuron, TIES))) * reach / 8
    expected, certain = run_equation(neuron, currents)
    got, _ = _run_module(module, currents)
    ties = ~certain
    if ties.any() and (expected != got)[ties].all():
        return f"{type(module).__name__} decides otherwise than its equation at its threshold"
    return ""


def reset_states(model: nn.Module) -> None:
    """Put every stateful module back to its start, as SpikingJelly's ``reset_net`` does."""
    for module in model.modules():
        library_of(module).reset(module)


def run_equation(neuron: SpikingNeuron, currents: Array) -> tuple[Array, Array]:
    """Spikes [steps, batch, ...], and whether they would be the same at a threshold a little off."""
    if isinstance(neuron, Neuron):
        margin = ROUNDING * (neuron.threshold - neuron.v_reset)
        off = [replace(neuron, threshold=neuron.threshold + shift) for shift in (-margin, margin)]
        runs = [_spikes_of(other, currents) for other in off]
    else:
        size = ROUNDING * float(np.abs(currents).max())
        changes = [0.0, size, -size, size * np.sign(currents), -size * np.sign(currents)]
        runs = [_spikes_of(neuron, currents + change) for change in changes]
    alike = np.all([run == runs[0] for run in runs], axis=(0, 1))
    return runs[0], np.broadcast_to(alike, runs[0].shape)


def _spikes_of(neuron: SpikingNeuron, currents: Array) -> Array:
    samples, *own = currents.shape[1:]
    start = neuron.initial(Type(tuple(own), REAL))
    state = {name: np.repeat(array[None], samples, 0) for name, array in start.items()}
    spikes = []
    for current in currents:
        (s,), state = neuron.step((current,), state)
        spikes.append(s)
    return np.stack(spikes)


@torch.no_grad()
def _run_module(module: nn.Module, currents: Array) -> tuple[Array, Array | None]:
    """Spikes [steps, batch, ...] of a copy in float64, and its potentials [batch, ...] at the end."""
    twin: Any = copy.deepcopy(module).double().eval()
    library = library_of(twin)
    reset_states(twin)
    for part in twin.modules():
        if isinstance(part, nn.Linear):  # snnTorch's spikes are float32, whatever its neurons compute in
            part.register_forward_pre_hook(lambda _, inputs: tuple(x.double() for x in inputs))
    sequence = torch.from_numpy(currents)
    with holding([twin]) if NORSE.owns(twin) else nullcontext():
        if library.one_step(twin):
            spikes = torch.stack([spikes_of(twin(current)) for current in sequence])
        else:
            spikes = spikes_of(twin(sequence))
    v = library.potential(twin)
    return spikes.double().numpy(), None if v is None else v.double().numpy()


def _probe_leak(module: nn.Module, leak: Neuron) -> str:
    """Drive a module whose potentials may be read, and the equation of those, with the same currents."""
    random = np.random.default_rng(0)
    for steps in range(1, PROBE_STEPS):
        currents = random.normal(0.3, 1.0, (steps, 1, PROBE_WIDTH))
        state = leak.initial(Type((1, PROBE_WIDTH), REAL))
        for current in currents:
            _, state = leak.step((current,), state)
        _, got = _run_module(module, currents)
        if got is None or not np.allclose(got, state["v"], rtol=1e-6, atol=1e-9):
            seen = None if got is None else np.round(got[0, :4], 4).tolist()
            return (
                f"{type(module).__name__} disagrees with its equation after {steps} steps: currents "
                f"{np.round(currents[:, 0, :4], 4).T.tolist()}, equation "
                f"{np.round(state['v'][0, :4], 4).tolist()}, module {seen}"
            )
    return ""


def _probed(module: nn.Module, neuron: SpikingNeuron) -> str:
    try:
        leak = library_of(module).leak(module)
        fault = "" if leak is None else _probe_leak(module, leak)
        sends_potentials = isinstance(neuron, Neuron) and neuron.threshold >= NEVER_REACHED
        return fault or ("" if leak is not None and sends_potentials else probe(module, neuron))
    except Exception as error:  # whatever the module's own code raises
        return f"{type(module).__name__} cannot be run alone: {type(error).__name__}: {error}"


def _unknown(path: str, module: nn.Module, error: Exception) -> Problem:
    name, library = type(module).__name__, library_of(module)
    fault = f"the neuron {name} is not known"
    remedy = "use one of these, or declare the class with spikeloom.declare_neuron"
    if isinstance(error, SpikeloomError):
        return Problem("SL0304", path, f"the neuron {name} is declared wrongly: {error.problems[0].what}")
    if isinstance(error, NotTakenError):
        fault = f"the neuron {name} is not taken with these settings: {error}"
    elif name in library.refused:
        why, _, around = library.refused[name].partition("; ")
        fault = f"the neuron {name} of {library.name} is refused: {why}"
        remedy = around or "use one of these"
    elif name in library.equations:
        fault = f"the neuron {name} has other parameters than the one that is known by this name: {error}"
    return Problem("SL0304", path, fault, wanted=" or ".join(sorted(library.equations)), remedy=remedy)
