"""Equations in floating point."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from spikeloom.compiler.graph.equations.expression import Expression, Name, Number
from spikeloom.compiler.graph.equations.program import INPUT, SPIKE, Program
from spikeloom.compiler.graph.op import Array

MEANINGS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    ">=": lambda a, b: np.greater_equal(a, b).astype(np.float64),
    ">": lambda a, b: np.greater(a, b).astype(np.float64),
    "<=": lambda a, b: np.less_equal(a, b).astype(np.float64),
    "<": lambda a, b: np.less(a, b).astype(np.float64),
    "where": lambda c, a, b: np.asarray(np.where(c > 0, a, b)),
    "minimum": np.minimum,
    "maximum": np.maximum,
}
"""What each operator computes, element by element; comparisons give 1.0 or 0.0."""


def step_real(
    program: Program, x: Array, state: Mapping[str, Array], parameters: Mapping[str, Array]
) -> tuple[Array, dict[str, Array]]:
    """One time step: the spikes and the new states, of the shape of ``x``."""
    values: dict[str, Array] = {**parameters, **state, INPUT: x}
    for name, expression in program.update:
        values[name] = _value(expression, values)
    values[SPIKE] = _value(program.fire, values)
    for name, expression in program.reset:
        values[name] = _value(expression, values)
    spikes: Array = np.broadcast_to(values[SPIKE], x.shape)
    return spikes, {name: np.array(np.broadcast_to(values[name], x.shape)) for name in program.states}


def _value(expression: Expression, values: Mapping[str, Array]) -> Array:
    if isinstance(expression, Number):
        return np.asarray(expression.value)
    if isinstance(expression, Name):
        return values[expression.name]
    return MEANINGS[expression.operator](*(_value(part, values) for part in expression.operands))
