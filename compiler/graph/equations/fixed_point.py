"""Equations in integers: fixed-point numbers of ``fraction_bits`` binary digits below one.

    a constant c that is added, compared or chosen   round(c * 2**f)
    a constant c that multiplies a number            (n * round(c * 2**20) + 2**19) >> 20
    a product of two numbers                         (n * m + 2**(f - 1)) >> f
    a comparison, and sums and products of them      whole numbers; 1 is worth 2**f where a number is met

Constants among themselves are computed in float64 before they are rounded (to even). What is assigned
to a state is clipped to the limit, which is part of the meaning: nothing overflows, and an integer
network computes the same on every engine. One walk gives the meaning in three kinds of values: NumPy's
integers, intervals (the proof that float64 holds every number) and the nodes of an ONNX function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np

from spikeloom.compiler.graph.equations.expression import EquationError, Expression, Name, Number, Operator
from spikeloom.compiler.graph.equations.program import INPUT, SPIKE, Program
from spikeloom.compiler.graph.equations.real import MEANINGS
from spikeloom.compiler.graph.op import Array

COEFFICIENT_BITS = 20
COMPARISONS = (">=", ">", "<=", "<")

V = TypeVar("V")


class Arithmetic(Protocol[V]):
    """What one kind of values must be able to do; every value is a whole number."""

    def constant(self, value: Array) -> V:
        """An array of whole numbers, in float64."""

    def binary(self, operator: Operator, a: V, b: V) -> V:
        """Add, subtract, multiply, compare (1 or 0), minimum, maximum."""

    def shifted(self, a: V, bits: int) -> V:
        """floor(a / 2**bits)."""

    def where(self, condition: V, a: V, b: V) -> V:
        """``a`` where the condition is above 0."""


@dataclass(frozen=True)
class Term(Generic[V]):
    """A value and what it counts.

    Attributes:
        kind: a ``constant`` (a float64 array), a ``count`` (whole numbers) or a ``fixed`` point number.
    """

    kind: Literal["constant", "count", "fixed"]
    value: Any


@dataclass(frozen=True)
class FixedPoint(Generic[V]):
    """The walk.

    Attributes:
        arithmetic: of the values.
        fraction_bits: binary digits below one.
        limit: the largest magnitude of a state.
    """

    arithmetic: Arithmetic[V]
    fraction_bits: int
    limit: int

    def step(
        self, program: Program, x: V, state: Mapping[str, V], parameters: Mapping[str, Array]
    ) -> tuple[V, dict[str, V]]:
        """One time step: what is sent, and the new states.

        Raises:
            EquationError: the equations have no meaning in integers.
        """
        terms: dict[str, Term[V]] = {name: Term("constant", value) for name, value in parameters.items()}
        terms |= {name: Term("fixed", value) for name, value in state.items()}
        terms[INPUT] = Term("fixed", x)
        for name, expression in program.update:
            term = self._term(expression, terms)
            terms[name] = self._held(term) if name in program.states else term
        sent = self._term(program.fire, terms)
        if not self._is_whole(sent):
            raise EquationError("what fires is no whole number: compare, or round")
        terms[SPIKE] = Term("count", self._count(sent))
        for name, expression in program.reset:
            terms[name] = self._held(self._term(expression, terms))
        return terms[SPIKE].value, {name: terms[name].value for name in program.states}

    def _held(self, term: Term[V]) -> Term[V]:
        """A number as a state holds it."""
        low, high = (self.arithmetic.constant(np.array(float(end))) for end in (-self.limit, self.limit))
        raised = self.arithmetic.binary("maximum", self._fixed(term), low)
        return Term("fixed", self.arithmetic.binary("minimum", raised, high))

    def _term(self, expression: Expression, terms: Mapping[str, Term[V]]) -> Term[V]:
        if isinstance(expression, Number):
            return Term("constant", np.array(expression.value))
        if isinstance(expression, Name):
            return terms[expression.name]
        operator = expression.operator
        operands = [self._term(part, terms) for part in expression.operands]
        if all(term.kind == "constant" for term in operands) and operator != "where":
            return Term("constant", MEANINGS[operator](*(term.value for term in operands)))
        if operator == "divide":
            operator, operands = "multiply", [operands[0], self._reciprocal(operands[1])]
        if operator == "multiply":
            return self._product(*operands)
        if operator == "where":
            condition, *operands = operands
            if not self._is_whole(condition):
                raise EquationError("the condition of where() is no comparison")
            kind, values = self._aligned(operands)
            return Term(kind, self.arithmetic.where(self._count(condition), *values))
        kind, values = self._aligned(operands)
        result = self.arithmetic.binary(operator, *values)
        return Term("count" if operator in COMPARISONS else kind, result)

    def _reciprocal(self, term: Term[V]) -> Term[V]:
        if term.kind != "constant" or not np.all(term.value != 0):
            raise EquationError("a division by something that is no constant")
        return Term("constant", 1.0 / term.value)

    def _product(self, a: Term[V], b: Term[V]) -> Term[V]:
        if a.kind == "constant":
            a, b = b, a
        if b.kind == "constant":
            return self._multiple(a, b.value)
        product = self.arithmetic.binary("multiply", a.value, b.value)
        if a.kind == b.kind == "fixed":
            return Term("fixed", self._rounded(product, self.fraction_bits))
        return Term("count" if a.kind == b.kind else "fixed", product)

    def _multiple(self, a: Term[V], factor: Array) -> Term[V]:
        whole = bool((factor == np.rint(factor)).all())
        if whole:
            times = self.arithmetic.constant(factor)
            return Term(a.kind, self.arithmetic.binary("multiply", a.value, times))
        bits = self.fraction_bits if a.kind == "count" else COEFFICIENT_BITS
        times = self.arithmetic.constant(np.rint(factor * 2.0**bits))
        product = self.arithmetic.binary("multiply", a.value, times)
        return Term("fixed", product if a.kind == "count" else self._rounded(product, bits))

    def _rounded(self, value: V, bits: int) -> V:
        if bits == 0:
            return value
        half = self.arithmetic.constant(np.array(2.0 ** (bits - 1)))
        return self.arithmetic.shifted(self.arithmetic.binary("add", value, half), bits)

    def _aligned(self, terms: list[Term[V]]) -> tuple[Literal["count", "fixed"], list[V]]:
        if all(self._is_whole(term) for term in terms):
            return "count", [self._count(term) for term in terms]
        return "fixed", [self._fixed(term) for term in terms]

    def _is_whole(self, term: Term[V]) -> bool:
        constant = term.kind == "constant" and bool((term.value == np.rint(term.value)).all())
        return constant or term.kind == "count"

    def _count(self, term: Term[V]) -> V:
        value: V = self.arithmetic.constant(term.value) if term.kind == "constant" else term.value
        return value

    def _fixed(self, term: Term[V]) -> V:
        one = 2.0**self.fraction_bits
        if term.kind == "constant":
            return self.arithmetic.constant(np.rint(term.value * one))
        if term.kind == "count":
            return self.arithmetic.binary("multiply", term.value, self.arithmetic.constant(np.array(one)))
        value: V = term.value
        return value


class Integers:
    """NumPy's integers."""

    def constant(self, value: Array) -> Array:
        """As int64."""
        return value.astype(np.int64)

    def binary(self, operator: Operator, a: Array, b: Array) -> Array:
        """NumPy's own."""
        return np.asarray(MEANINGS[operator](a, b)).astype(np.int64)

    def shifted(self, a: Array, bits: int) -> Array:
        """An arithmetic shift."""
        return a >> bits

    def where(self, condition: Array, a: Array, b: Array) -> Array:
        """NumPy's own."""
        return np.where(condition > 0, a, b)


Interval = tuple[int, int]


class Intervals:
    """Bounds of whole numbers.

    Attributes:
        largest: the largest magnitude that was met.
    """

    def __init__(self) -> None:
        self.largest = 0

    def constant(self, value: Array) -> Interval:
        """Its least and its most."""
        return self._seen((int(value.min()), int(value.max())))

    def binary(self, operator: Operator, a: Interval, b: Interval) -> Interval:
        """Of every pair."""
        if operator in COMPARISONS:
            return (0, 1)
        if operator == "minimum":
            return (min(a[0], b[0]), min(a[1], b[1]))
        if operator == "maximum":
            return (max(a[0], b[0]), max(a[1], b[1]))
        if operator == "add":
            return self._seen((a[0] + b[0], a[1] + b[1]))
        if operator == "subtract":
            return self._seen((a[0] - b[1], a[1] - b[0]))
        ends = [first * second for first in a for second in b]
        return self._seen((min(ends), max(ends)))

    def shifted(self, a: Interval, bits: int) -> Interval:
        """Of both ends."""
        return (a[0] >> bits, a[1] >> bits)

    def where(self, condition: Interval, a: Interval, b: Interval) -> Interval:
        """Of either."""
        return (min(a[0], b[0]), max(a[1], b[1]))

    def _seen(self, interval: Interval) -> Interval:
        self.largest = max(self.largest, -interval[0], interval[1])
        return interval
