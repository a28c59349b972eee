"""Neuron layers of another environment: modules that have its classes' names and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.libraries.library import NotTakenError, SpikingNeuron
from spikeloom.compiler.frontends.torch.libraries.spikingjelly import EQUATIONS
from spikeloom.compiler.frontends.torch.neurons import OWN_SETTINGS, run_equation
from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array
from spikeloom.errors import Problem

SHOWN = 8
"""Steps of a trace in a message."""


class RecordedNeuron(nn.Module):
    """A neuron layer with a memory: it computes the equation of its class, in float64.

    Attributes:
        recorded: currents and spikes of the real one, [steps, 1, neurons].
    """

    def __init__(self, settings: Mapping[str, Any], recorded: Sequence[tuple[Array, Array]]) -> None:
        super().__init__()
        self.recorded = recorded
        self.v: Tensor | float = 0.0
        self._state: dict[str, Array] = {}
        for name, value in settings.items():
            if isinstance(value, Tensor):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def reset(self) -> None:
        """Back to the start."""
        self.v, self._state = 0.0, {}

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of one step, or of every step along the first axis."""
        equation = EQUATIONS[type(self).__name__](self)
        one_step = getattr(self, "step_mode", "m") != "m"
        spikes = [self._step(equation, each) for each in (x.unsqueeze(0) if one_step else x)]
        return spikes[0] if one_step else torch.stack(spikes)

    def _step(self, equation: SpikingNeuron, x: Tensor) -> Tensor:
        current = x.detach().double().numpy()[None]
        self._state = self._state or {
            name: np.broadcast_to(value, (1, *value.shape)).copy()
            for name, value in equation.initial(Type(current.shape[1:], REAL)).items()
        }
        (spikes,), self._state = equation.step((current,), self._state)
        if "v" in self._state:
            self.v = torch.from_numpy(self._state["v"][0]).to(x.dtype)
        return torch.from_numpy(np.ascontiguousarray(spikes[0])).to(x.dtype)


class RecordedSurrogate:
    """A surrogate function: its answers at the points where it was asked."""

    def __init__(self, about: Mapping[str, Any], points: Sequence[float]) -> None:
        self._answers = dict(zip(points, about["answers"], strict=False))
        for name, value in about["settings"].items():
            if isinstance(value, (bool, int, float, str)) and name.isidentifier():
                setattr(self, name, value)

    def __call__(self, x: Tensor) -> Tensor:
        """What it gave.

        Raises:
            NotTakenError: it was not asked there.
        """
        given = [self._answers.get(round(value, 6)) for value in x.double().tolist()]
        if any(value is None for value in given):
            raise NotTakenError("its surrogate function was not recorded at these points")
        return torch.tensor(given)


class RecordedStairs(nn.Module):
    """A graded neuron without a memory: it rises behind each edge."""

    def __init__(self, edges: Sequence[float], values: Sequence[float]) -> None:
        super().__init__()
        self._edges, self._values = list(edges), list(values)

    def forward(self, x: Tensor) -> Tensor:
        """The value of the stair that each number stands on."""
        edges = torch.tensor(self._edges, dtype=torch.float64)
        values = torch.tensor(self._values, dtype=torch.float64)
        stair = torch.searchsorted(edges, x.detach().double().contiguous())
        return values[stair].to(x.dtype)


def as_module(
    about: Mapping[str, Any], tensors: Sequence[Tensor], points: Sequence[float], read: Any
) -> nn.Module:
    """The module of a layer as a capture file describes it.

    Args:
        about: the layer.
        tensors: of the file.
        points: where surrogate functions were asked.
        read: turns a setting of the document into a value.
    """
    if "edges" in about:
        return RecordedStairs([float.fromhex(edge) for edge in about["edges"]], about["values"])
    probes = [(tensors[a].double().numpy(), tensors[b].double().numpy()) for a, b in about["probes"]]
    settings = {name: read(value) for name, value in about["settings"].items() if name.isidentifier()}
    taken = set(dir(RecordedNeuron)) | {"recorded", "v"}
    kind: Any = type(_kind(about["kinds"]), (RecordedNeuron,), {})
    module: nn.Module = kind({k: value for k, value in settings.items() if k not in taken}, probes)
    if "surrogate" in about:
        module.surrogate_function = RecordedSurrogate(about["surrogate"], points)  # type: ignore[assignment]
    return module


def _kind(kinds: Sequence[tuple[str, Sequence[str]]]) -> str:
    """The nearest known class that the layer's own class only gives settings to, else its own."""
    for name, defined in kinds:
        if name in EQUATIONS:
            return name
        if not OWN_SETTINGS.issuperset(defined):
            break
    return str(kinds[0][0])


def disagreements(neurons: Mapping[str, nn.Module]) -> list[Problem]:
    """Layers whose answers to probes, where they were made, are not those of the equation of their class."""
    return [
        Problem("SL0305", path, fault, remedy="report this neuron's class and settings")
        for path, module in neurons.items()
        if isinstance(module, RecordedNeuron) and (fault := _disagreement(module))
    ]


def _disagreement(module: RecordedNeuron) -> str:
    name = type(module).__name__
    try:
        equation = EQUATIONS[name](module)
    except Exception:  # the survey of the neurons says what is wrong with it
        return ""
    if not module.recorded:
        return f"{name} could not be made to fire now and then where it was recorded"
    for trial, (currents, spikes) in enumerate(module.recorded):
        expected, certain = run_equation(equation, currents)
        if (wrong := certain & (expected != spikes)).any():
            step, _, unit = (int(place) for place in np.argwhere(wrong)[0])
            until = slice(max(0, step + 1 - SHOWN), step + 1)
            return (
                f"{name} disagrees with its equation at step {step} of probe {trial}: currents "
                f"{np.round(currents[until, 0, unit], 4).tolist()}, equation "
                f"{expected[until, 0, unit].tolist()}, recorded {spikes[until, 0, unit].tolist()}"
            )
    return ""
