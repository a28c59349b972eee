"""Neurons that users declare: the equations of a class of modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.ops.neuron import Neuron

Declaration = Callable[[Any], Neuron | EquationNeuron]

_DECLARED: WeakKeyDictionary[type, Declaration] = WeakKeyDictionary()


def declare_neuron(kind: type, equation: Declaration) -> None:
    """Declare that the modules of a class are spiking neurons with these equations.

    It says what the class computes, and is checked: random currents through each module and through its
    equations must give the same spikes, or the model is refused with both. A module takes [T, B, ...] in
    one call, unless it has a ``step_mode`` other than ``"m"``, and is put back to its start by ``reset()``;
    it returns spikes of the shape of its input. Declared for a class, not for its subclasses.

    Args:
        kind: a class of ``torch.nn.Module``.
        equation: makes the equations from a module, so that they hold its own parameters.

    >>> class Sum:
    ...     threshold = 3.0
    >>> declare_neuron(Sum, lambda module: Neuron.from_equations(
    ...     ["v = 0"], ["v = v + x"], f"v >= {module.threshold}", ["v = 0"]
    ... ))
    >>> declared_equation(Sum()).fire
    'v >= 3.0'
    """
    _DECLARED[kind] = equation


def is_declared(module: Any) -> bool:
    """Whether the class of a module was declared."""
    return type(module) in _DECLARED


def declared_equation(module: Any) -> Neuron | EquationNeuron | None:
    """The equations of a module as its class was declared; None if it was not."""
    declaration = _DECLARED.get(type(module))
    return None if declaration is None else declaration(module)
