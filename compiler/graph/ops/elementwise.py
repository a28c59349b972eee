"""Functions of single numbers: what gates and activations of real values compute."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work, register

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "exp": np.exp,
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "logsigmoid": lambda x: -np.logaddexp(-x, 0),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "softplus": lambda x: np.logaddexp(x, 0),
    "square": np.square,
    "tanh": np.tanh,
}
"""What each function is, in float64."""


@register
@dataclass(frozen=True, eq=False)
class Elementwise(Op):
    """y = f(x), element by element. Float only: an integer graph looks the values up (:class:`Lookup`).

    Attributes:
        function: one of :data:`FUNCTIONS`.

    >>> Elementwise("square").evaluate(np.array([[3.0]]))
    (array([[9.]]),)
    """

    name: ClassVar[str] = "elementwise"
    work: ClassVar[Work] = "host"

    function: str

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any value to a real value of its shape."""
        if self.function not in FUNCTIONS:
            raise RuleBrokenError(f"there is no function {self.function!r}")
        return (Type(inputs[0].shape, REAL),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """Compute in float64."""
        return (np.asarray(FUNCTIONS[self.function](inputs[0].astype(np.float64))),)

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element, whatever it is."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)
