"""A declared neuron as its equations in order, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from spikeloom.compiler.graph.equations.expression import (
    EquationError,
    Expression,
    Number,
    names_of,
    numbers_of,
    read_assignment,
    read_expression,
)

INPUT, SPIKE = "x", "s"
Assignments = tuple[tuple[str, Expression], ...]


@dataclass(frozen=True)
class Program:
    """One time step: the update, then the spike, then the reset; each assignment sees those before it.

    Attributes:
        states: each state and its start, in order.
        update: assignments to states and to names of their own, which last for the step.
        fire: what is sent, a whole number.
        reset: assignments to states; here ``s`` is what was sent.
    """

    states: Mapping[str, float]
    update: Assignments
    fire: Expression
    reset: Assignments

    def expressions(self) -> Iterable[Expression]:
        """Every expression."""
        return (*(e for _, e in self.update), self.fire, *(e for _, e in self.reset))

    def numbers(self) -> list[float]:
        """Every number in it, the starts included."""
        written = [number for expression in self.expressions() for number in numbers_of(expression)]
        return [*self.states.values(), *written]


@lru_cache(maxsize=256)
def read_program(
    states: tuple[str, ...],
    update: tuple[str, ...],
    fire: str,
    reset: tuple[str, ...],
    parameters: tuple[str, ...] = (),
) -> Program:
    """Read and check the equations of a neuron.

    Args:
        states: ``"v = 0"`` for each: its name and where it starts.
        update: assignments, with ``x`` for the input.
        fire: an expression of whole numbers, such as a comparison.
        reset: assignments, with ``s`` for the spike.
        parameters: names that stand for arrays.

    Raises:
        EquationError: one is not of the language, or uses a name that there is not.

    >>> read_program(("v = 0",), ("v = 0.5 * v + x",), "v >= 1", ("v = v - s",)).states
    {'v': 0.0}
    """
    starts = dict(_start(text) for text in states)
    if len(starts) != len(states) or set(starts) & set(parameters):
        raise EquationError("two states or parameters have the same name")
    if {INPUT, SPIKE} & {*starts, *parameters}:
        raise EquationError("x is the input and s the spike: no state or parameter has these names")
    steps = tuple(read_assignment(text) for text in update)
    known = {*starts, *parameters, INPUT}
    for name, expression in steps:
        if name in parameters or name in (INPUT, SPIKE):
            raise EquationError(f"the update assigns {name}")
        _check(expression, known)
        known.add(name)
    sent = read_expression(fire)
    _check(sent, known)
    after = tuple(read_assignment(text) for text in reset)
    for name, expression in after:
        if name not in starts:
            raise EquationError(f"the reset assigns {name}, which is no state")
        _check(expression, known | {SPIKE})
    return Program(starts, steps, sent, after)


def _start(text: str) -> tuple[str, float]:
    name, value = read_assignment(text)
    if not isinstance(value, Number):
        raise EquationError(f"{text!r}: a state starts at a number")
    return name, value.value


def _check(expression: Expression, known: set[str]) -> None:
    strange = sorted(set(names_of(expression)) - known)
    if strange:
        raise EquationError(f"{', '.join(strange)} is used before it is set")
