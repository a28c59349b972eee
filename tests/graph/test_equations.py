"""The language of declared equations: what it reads, what it refuses, and that nothing of it is executed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.compiler.graph.equations.expression import (
    EquationError,
    Number,
    names_of,
    numbers_of,
    read_assignment,
    read_expression,
)
from spikeloom.compiler.graph.equations.fixed_point import FixedPoint, Integers, Intervals
from spikeloom.compiler.graph.equations.program import read_program
from spikeloom.compiler.graph.equations.real import step_real
from spikeloom.compiler.graph.kinds import REAL, SPIKES, Type, levels, sums
from spikeloom.compiler.graph.op import RuleBrokenError
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.errors import InputError
from tests.operation_cases import EQUATIONS

MEANINGS = [
    ("1 + 2 * 3 - 4 / 8", 6.5),
    ("-(x) * 2", -3.0),
    ("- 2 * x", -3.0),
    ("where(x > 1, 5, 7)", 5.0),
    ("where(x - 1.5, 5, 7)", 7.0),
    ("min(x, 1) + max(x, 2)", 3.0),
    ("clip(x, -1, 1)", 1.0),
    ("abs(0 - x)", 1.5),
    ("(x >= 1.5) + (x > 1.5) + (x <= 1.5) + (x < 1.5)", 2.0),
    ("round_half_up(x, 4)", 2.0),
    ("round_half_even(x + 1, 4)", 2.0),
    ("round_half_even(9, 4)", 4.0),
    ("round_half_up(-x, 4)", 0.0),
]


@pytest.mark.parametrize(("text", "value"), MEANINGS)
def test_meaning(text: str, value: float) -> None:
    program = read_program((), (f"h = {text}",), "h >= 0", ())
    x = np.array([[1.5]])
    spikes, _ = step_real(program, x, {}, {})
    assert spikes.shape == x.shape
    probe = read_program(("v = 0",), (f"v = {text}",), "v >= 0", ())
    _, after = step_real(probe, x, {"v": np.zeros((1, 1))}, {})
    assert after["v"][0, 0] == value


REFUSED = [
    "v ** 2",
    "__import__('os').system('true')",
    "v.__class__",
    "v[0]",
    "lambda: 0",
    "[v for v in x]",
    "0 < v < 1",
    "v == 1",
    "v and x",
    "not v",
    "v if x else 0",
    "'v'",
    "True",
    "None",
    "1j",
    "1e400",
    "exp(v)",
    "min(v)",
    "min(v, x, 1)",
    "clip(v, low=0, high=1)",
    "round_half_up(v, 2.5)",
    "round_half_up(v, x)",
    "round_half_up(v, 1000)",
    "v := 1",
    "v +",
    "",
    "v\nx",
    "v; x",
    "(" * 3000 + "v" + ")" * 3000,
    "-" * 3000 + "v",
    "v" * 5000,
    "v\x00",
    "*v",
    "max(*v, 1)",
]


@pytest.mark.parametrize("text", REFUSED, ids=[text[:24] for text in REFUSED])
def test_nothing_else_is_read(text: str) -> None:
    with pytest.raises(EquationError):
        read_expression(text)
    with pytest.raises(InputError) as caught:
        Neuron.from_equations(["v = 0"], [f"v = {text}"], "v >= 1")
    assert caught.value.problems[0].code == "SL0308"


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="vx01.+-*/()<>=, ,whereminmaxclipabs_", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        expression = read_expression(text)
    except EquationError:
        return
    assert isinstance(list(names_of(expression)) + list(numbers_of(expression)), list)


ASSIGNMENTS = [
    "v",
    "v = w = 0",
    "v += 1",
    "v, w = 0",
    "v: int = 0",
    "del v",
    "import os",
    "v.x = 1",
    "v[0] = 1",
]


@pytest.mark.parametrize("text", ASSIGNMENTS)
def test_only_names_are_assigned(text: str) -> None:
    with pytest.raises(EquationError):
        read_assignment(text)


PROGRAMS: list[tuple[tuple[str, ...], tuple[str, ...], str, tuple[str, ...], str]] = [
    (("v = 0", "v = 1"), (), "v >= 1", (), "two states"),
    (("x = 0",), (), "x >= 1", (), "x is the input"),
    (("v = w",), (), "v >= 1", (), "starts at a number"),
    (("v = 0",), ("v = w + x",), "v >= 1", (), "w is used before it is set"),
    (("v = 0",), ("h = s",), "v >= 1", (), "s is used before it is set"),
    (("v = 0",), ("x = v",), "v >= 1", (), "assigns x"),
    (("v = 0",), ("s = v",), "v >= 1", (), "assigns s"),
    (("v = 0",), ("h = v",), "h >= 1", ("h = 0",), "which is no state"),
    (("v = 0",), ("v = x",), "v", (), "no whole number"),
    (("v = 0",), ("v = x",), "(v >= 1) * 0.5", (), "no whole number"),
    (("v = 0",), ("v = where(v, x, 0)",), "v >= 1", (), "no comparison"),
    (("v = 0",), ("v = x / v",), "v >= 1", (), "no constant"),
    (("v = 0",), ("v = x / 0",), "v >= 1", (), "no constant"),
    (("v = 0",), ("v = x",), "300 * (v >= 1)", (), "255 are the limit"),
]


@pytest.mark.parametrize(("states", "update", "fire", "reset", "reason"), PROGRAMS)
def test_programs_that_make_no_sense(
    states: tuple[str, ...], update: tuple[str, ...], fire: str, reset: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        Neuron.from_equations(states, update, fire, reset)
    assert reason in str(caught.value)


def test_parameters_are_arrays_of_channels() -> None:
    neuron = Neuron.from_equations(
        ["v = 0"], ["v = a * v + b * x"], "v >= 1", parameters={"a": np.array([0.5, 0.9]), "b": np.array(2.0)}
    )
    assert neuron.values is not None
    assert neuron.values.shape == (2, 2)
    (spikes,), _ = neuron.step((np.array([[0.4, 0.6]]),), {"v": np.array([[0.3, 0.0]])})
    assert spikes.tolist() == [[0.0, 1.0]]
    with pytest.raises(RuleBrokenError):
        neuron.infer(Type((3,), REAL))
    with pytest.raises(InputError):
        Neuron.from_equations(["v = 0"], ["v = a"], "v >= 1", parameters={"a": np.array(np.nan)})


def test_kinds_of_what_is_sent() -> None:
    x = Type((2,), REAL)

    def kind(fire: str) -> object:
        return Neuron.from_equations(["v = 0"], ["v = v + x"], fire).infer(x)[0].kind

    assert kind("v >= 1") == SPIKES
    assert kind("round_half_even(v, 4)") == levels(4)
    assert kind("(v >= 1) - (v <= -1)") == sums(-1, 1)
    assert kind("2 * (v >= 1)") == levels(2)


@pytest.mark.parametrize("equations", EQUATIONS, ids=lambda texts: texts[2])
def test_intervals_hold_every_integer(
    equations: tuple[tuple[str, ...], tuple[str, ...], str, tuple[str, ...]],
) -> None:
    """What is proved of the numbers on the way is true of random ones: sent, and below the largest."""
    program = read_program(*equations, ("b",))
    rng = np.random.default_rng(0)
    bits, limit, constants = 8, 2**12, {"b": np.array(0.7)}
    proved = Intervals()
    states = dict.fromkeys(program.states, (-limit, limit))
    (low, high), _ = FixedPoint(proved, bits, limit).step(program, (-5000, 5000), states, constants)
    walk = FixedPoint(Integers(), bits, limit)
    for _ in range(50):
        state = {name: rng.integers(-limit, limit + 1, (4, 9)) for name in program.states}
        sent, after = walk.step(program, rng.integers(-5000, 5001, (4, 9)), state, constants)
        assert low <= sent.min() <= sent.max() <= high
        assert all(np.abs(value).max() <= limit for value in after.values())
    assert proved.largest > 0


def test_the_numbers_of_a_program() -> None:
    program = read_program(("v = -3",), ("v = 0.5 * v + x",), "v >= 7", ("v = where(s, 9, v)",))
    assert sorted(program.numbers()) == [-3.0, 0.5, 7.0, 9.0]
    assert read_expression("-4") == Number(-4.0)
