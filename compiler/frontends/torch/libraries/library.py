"""How the neurons of one PyTorch library are told, read and driven."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.neuron import Neuron

NEVER_REACHED = 1e6
"""A threshold above this is that of a readout: no potential comes near it."""

SpikingNeuron = Neuron | EquationNeuron | FeedbackNeuron
Equation = Callable[[Any], SpikingNeuron]


class NotTakenError(ValueError):
    """A neuron of a known class with a setting that has no counterpart; the text says which."""


@dataclass(frozen=True)
class Library:
    """The neurons of one library.

    Attributes:
        name: of the library.
        owns: whether a module is a neuron of it, by its attributes alone.
        equations: by class name; each raises what a missing attribute raises, or :class:`NotTakenError`.
        refused: class names that are known to have no counterpart, and why.
        reset: puts a neuron back to its start.
        potential: the membrane potential, or None where it has none.
        one_step: whether a call takes one time step, without an axis of time.
        leak: for a neuron whose spikes change nothing in it, one of the same potentials that never fires.
        result: what a call returns, from the module, its spikes and its potentials.
        wraps: whether a module is a recurrent layer around a neuron, both of the library.
        width: of the last axis of what a module sends, where that is not its input's; else 0.
    """

    name: str
    owns: Callable[[Any], bool]
    equations: Mapping[str, Equation]
    refused: Mapping[str, str]
    reset: Callable[[Any], None]
    potential: Callable[[Any], Tensor | None]
    one_step: Callable[[Any], bool]
    leak: Callable[[Any], Neuron | None] = field(default=lambda module: None)
    result: Callable[[Any, Tensor, Tensor], Any] = field(default=lambda module, spikes, potentials: spikes)
    wraps: Callable[[Any], bool] = field(default=lambda module: False)
    width: Callable[[Any], int] = field(default=lambda module: 0)


def number(value: Any) -> float:
    """A parameter that is one number, however a module stores it.

    Raises:
        NotTakenError: it differs from neuron to neuron.

    >>> number(torch.full((3,), 0.5))
    0.5
    """
    if not isinstance(value, Tensor):
        return float(value)
    numbers = value.detach().double().reshape(-1)
    if not len(numbers) or not bool((numbers == numbers[0]).all()):
        raise NotTakenError(
            f"a parameter of {len(numbers)} values, a number for each channel: declare its equations"
        )
    return float(numbers[0])


def fires_above_only(surrogate: Any) -> bool:
    """Whether a surrogate function stays silent at the threshold itself.

    Raises:
        NotTakenError: it does not give 0 below and 1 above.
    """
    with torch.no_grad():
        seen = surrogate(torch.tensor([-2.5, -0.1, 0.0, 0.1, 1.6, 7.0])).tolist()
    if seen[:2] != [0.0, 0.0] or seen[3:] != [1.0, 1.0, 1.0] or seen[2] not in (0.0, 1.0):
        raise NotTakenError(f"its surrogate function {type(surrogate).__name__} gives other than 0 and 1")
    return bool(seen[2] == 0.0)


def has_all(module: nn.Module, *names: str) -> bool:
    """Whether a module has all of these attributes.

    >>> has_all(nn.Linear(1, 1), "weight", "bias")
    True
    """
    return all(hasattr(module, name) for name in names)
