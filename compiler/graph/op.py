"""What an operation is, and the registry of all of them.

An operation is a frozen dataclass: its fields are its parameters (numbers, tuples, NumPy arrays).
It knows its type rule (:meth:`Op.infer`), its executable meaning (:meth:`Op.evaluate`, or
:meth:`StatefulOp.step`) and its work (:meth:`Op.dense_operations`, :meth:`Op.operations`). One
file of :mod:`spikeloom.compiler.graph.ops` defines one operation; the verifier, the reference
interpreter, the emitters' coverage tests and the file format find it through this registry.

With float parameters an operation computes in floating point; with integer parameters it computes
exact integers, and its type rule proves the interval of the result.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import Type

Array = NDArray[Any]
Work = Literal["synaptic", "product", "update", "addition", "host", "none"]


class RuleBrokenError(ValueError):
    """The inputs of an operation break its type rule; the verifier names the node."""


@dataclass(frozen=True, eq=False)
class Op(ABC):
    """An operation: parameters, type rule, meaning, work.

    Attributes:
        name: what it is called in text and in files.
        work: what its operations are: ``synaptic`` (input times stored weight), ``product``
            (input times input), ``update`` (of a neuron's state), ``addition``, ``host`` (of real numbers,
            as in a normalisation, whatever spikes) or ``none``.
    """

    name: ClassVar[str]
    work: ClassVar[Work] = "none"

    @property
    def lateness(self) -> int:
        """Time steps by which the result is late, beyond what the inputs are."""
        return 0

    @property
    def overtime(self) -> int:
        """Time steps by which the result goes on after the inputs have ended."""
        return 0

    @abstractmethod
    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Return the types of the outputs.

        Raises:
            RuleBrokenError: the inputs do not fit the operation.
        """

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """Return the outputs for inputs of shape [batch, ...]; integers are int64."""
        raise TypeError(f"{self.name} has state: use step()")

    def dense_operations(self, *inputs: Type) -> int:
        """Operations of one time step of one sample if every input were non-zero."""
        return 0

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Operations [batch] that these inputs cause: only non-zero operands count."""
        return np.zeros(len(inputs[0]), np.int64)


@dataclass(frozen=True, eq=False)
class StatefulOp(Op):
    """An operation that keeps state from one time step to the next."""

    @property
    def accumulates(self) -> bool:
        """Whether it sums time steps, so that its last result stands for all of them."""
        return False

    @abstractmethod
    def states(self, *inputs: Type) -> dict[str, Type]:
        """Return the name and type of each state."""

    def initial(self, *inputs: Type) -> dict[str, Array]:
        """Return each state [...] as it is after a reset (no batch axis); zeros by default."""
        return {
            name: np.zeros(kind.shape, np.int64 if kind.kind.is_integer else np.float64)
            for name, kind in self.states(*inputs).items()
        }

    @abstractmethod
    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Advance one time step: inputs and state [batch, ...] to outputs and new state."""


OpClass = TypeVar("OpClass", bound=Op)
_REGISTRY: dict[str, type[Op]] = {}


def register(op: type[OpClass]) -> type[OpClass]:
    """Class decorator that makes an operation known under its name.

    Raises:
        KeyError: the name is taken.
    """
    if _REGISTRY.setdefault(op.name, op) is not op:
        raise KeyError(f"two operations are called {op.name!r}: {_REGISTRY[op.name]} and {op}")
    return op


@cache
def _load_all() -> None:
    package = importlib.import_module("spikeloom.compiler.graph.ops")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def all_ops() -> dict[str, type[Op]]:
    """Every operation by name, sorted.

    >>> "conv2d" in all_ops()
    True
    """
    _load_all()
    return dict(sorted(_REGISTRY.items()))
