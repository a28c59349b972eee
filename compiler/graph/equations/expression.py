"""The expressions of declared equations: read with Python's grammar, into a few kinds of our own.

    number, name, a + b, a - b, a * b, a / number, -a, a >= b (also >, <=, <; 1 or 0),
    where(condition, a, b), min(a, b), max(a, b), clip(a, low, high), abs(a),
    round_half_up(a, levels), round_half_even(a, levels)

The last two round to a whole number from 0 to ``levels``. Nothing else is read: no attributes, no
powers, no other functions; a text is never executed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

LONGEST = 4000
MOST_LEVELS = 64

Operator = Literal[
    "add", "subtract", "multiply", "divide", ">=", ">", "<=", "<", "where", "minimum", "maximum"
]


class EquationError(ValueError):
    """A text is no equation of this language; the message says what is in the way."""


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Name:
    """A state, a parameter, the input ``x`` or the spike ``s``."""

    name: str


@dataclass(frozen=True)
class Apply:
    """An operator and its operands."""

    operator: Operator
    operands: tuple[Expression, ...]


Expression = Number | Name | Apply

_BINARY: dict[type[ast.operator], Operator] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
}
_COMPARISONS: dict[type[ast.cmpop], Operator] = {ast.GtE: ">=", ast.Gt: ">", ast.LtE: "<=", ast.Lt: "<"}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Expression]]] = {
    "where": (3, lambda c, a, b: Apply("where", (c, a, b))),
    "min": (2, lambda a, b: Apply("minimum", (a, b))),
    "max": (2, lambda a, b: Apply("maximum", (a, b))),
    "clip": (3, lambda a, low, high: Apply("minimum", (Apply("maximum", (a, low)), high))),
    "abs": (1, lambda a: Apply("maximum", (a, Apply("subtract", (Number(0.0), a))))),
    "round_half_up": (2, lambda a, levels: _rounded(a, levels, (">=", ">="))),
    "round_half_even": (2, lambda a, levels: _rounded(a, levels, (">", ">="))),
}


@lru_cache(maxsize=1024)
def read_expression(text: str) -> Expression:
    """Read one expression.

    Raises:
        EquationError: it is not of this language.

    >>> read_expression("0.5 * v + x").operator
    'add'
    >>> read_expression("v ** 2")
    Traceback (most recent call last):
    spikeloom.compiler.graph.equations.expression.EquationError: 'v ** 2': Pow is not known here
    """
    return _convert(_parsed(text, "eval").body, text)  # type: ignore[attr-defined]


@lru_cache(maxsize=1024)
def read_assignment(text: str) -> tuple[str, Expression]:
    """Read ``name = expression``.

    Raises:
        EquationError: it is not of this language.

    >>> read_assignment("v = 0")
    ('v', Number(value=0.0))
    """
    statements = _parsed(text, "exec").body  # type: ignore[attr-defined]
    if len(statements) != 1 or not isinstance(statements[0], ast.Assign):
        raise EquationError(f"{text!r} is not of the form name = expression")
    (statement,) = statements
    if len(statement.targets) != 1 or not isinstance(statement.targets[0], ast.Name):
        raise EquationError(f"{text!r} does not assign one name")
    return statement.targets[0].id, _convert(statement.value, text)


def names_of(expression: Expression) -> Iterator[str]:
    """Every name that an expression uses, with repetitions."""
    if isinstance(expression, Name):
        yield expression.name
    elif isinstance(expression, Apply):
        for operand in expression.operands:
            yield from names_of(operand)


def numbers_of(expression: Expression) -> Iterator[float]:
    """Every number in an expression."""
    if isinstance(expression, Number):
        yield expression.value
    elif isinstance(expression, Apply):
        for operand in expression.operands:
            yield from numbers_of(operand)


def _parsed(text: str, mode: Literal["eval", "exec"]) -> ast.AST:
    if len(text) > LONGEST:
        raise EquationError(f"an equation of {len(text)} characters; {LONGEST} are the limit")
    try:
        return ast.parse(text.strip(), mode=mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise EquationError(f"{text!r} cannot be read: {error}") from error


def _convert(node: ast.AST, text: str) -> Expression:
    try:
        return _converted(node)
    except EquationError as error:
        raise EquationError(f"{text!r}: {error}") from None
    except RecursionError as error:
        raise EquationError("an equation is nested too deeply") from error


def _converted(node: ast.AST) -> Expression:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return _number(node.value)
    if isinstance(node, ast.Name):
        return Name(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _negated(_converted(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return Apply(_BINARY[type(node.op)], (_converted(node.left), _converted(node.right)))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
        operands = (_converted(node.left), _converted(node.comparators[0]))
        return Apply(_COMPARISONS[type(node.ops[0])], operands)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _called(node.func.id, node)
    kind = node.op if isinstance(node, (ast.BinOp, ast.UnaryOp)) else node
    raise EquationError(f"{type(kind).__name__} is not known here")


def _number(value: float) -> Number:
    if isinstance(value, bool):
        raise EquationError("True and False are not known here")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if abs(number) > 1e300:
        raise EquationError("a number is too large")
    return Number(number)


def _negated(operand: Expression) -> Expression:
    if isinstance(operand, Number):
        return Number(-operand.value)
    return Apply("subtract", (Number(0.0), operand))


def _called(name: str, node: ast.Call) -> Expression:
    if name not in _FUNCTIONS:
        raise EquationError(f"there is no function {name}; there are {', '.join(sorted(_FUNCTIONS))}")
    count, build = _FUNCTIONS[name]
    if node.keywords or len(node.args) != count:
        raise EquationError(f"{name} takes {count} operands")
    return build(*(_converted(argument) for argument in node.args))


def _rounded(a: Expression, levels: Expression, signs: tuple[Operator, Operator]) -> Expression:
    """How many of ½, 1½, 2½ ... it reaches: the odd ones by the first comparison, the even by the second."""
    most = int(levels.value) if isinstance(levels, Number) else 0
    if not isinstance(levels, Number) or levels.value != most or not 1 <= most <= MOST_LEVELS:
        raise EquationError(f"the levels of a rounding are a whole number from 1 to {MOST_LEVELS}")
    total: Expression | None = None
    for k in range(1, most + 1):
        reached = Apply(signs[(k - 1) % 2], (a, Number(k - 0.5)))
        total = reached if total is None else Apply("add", (total, reached))
    assert total is not None
    return total
