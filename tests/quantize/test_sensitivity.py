"""Widths of weights chosen by measured sensitivity, under a budget of flips or of bytes."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.quantize.quantize import Quantized, quantize
from spikeloom.compiler.quantize.sensitivity import (
    Budget,
    Sensitivity,
    choose_bits,
    measure_sensitivity,
)
from spikeloom.compiler.quantize.walk import Rounding
from spikeloom.errors import InputError
from tests.integer_networks import STEPS, canonical, frames_of, onnx_profile

NAME = "Convolutional"


def _at(bits: int) -> Quantized:
    graph, activity = canonical(NAME)
    return quantize(graph, onnx_profile(bits), activity, STEPS, rounding=Rounding())


def _measured() -> tuple[Sensitivity, ...]:
    return measure_sensitivity(canonical(NAME)[0], _at, 8, frames_of(NAME))


def test_every_layer_is_measured_at_every_width() -> None:
    found = {one.layer: one for one in _measured()}
    assert list(found) == ["stem.0", "grouped.0", "narrow.0", "head"]
    assert found["grouped.0"].weights == 8 * 2 * 9
    for one in found.values():
        assert list(one.flips) == list(range(2, 9))
        shares = list(one.flips.values())
        assert shares == sorted(shares, reverse=True)
    assert all(one.flips[2] > one.flips[8] for one in found.values() if one.layer != "head")
    assert found["stem.0"].flips[8] < 0.01 < found["stem.0"].flips[2]


def test_the_flips_of_the_first_layer_are_those_of_its_neurons() -> None:
    """By hand: the trained network with its first layer rounded, each step from the trained membranes."""
    graph, _ = canonical(NAME)
    first = next(one for one in _measured() if one.layer == "stem.0")
    rounded = _at(2)
    node = graph.node("stem.0")
    steps = rounded.steps["stem.0"].reshape(-1, 1, 1, 1)
    integers = rounded.graph.node("stem.0").op
    assert isinstance(node.op, Conv2d)
    assert isinstance(integers, Conv2d)
    conv = replace(node.op, weight=integers.weight * steps)
    run, apart, cells = Interpreter(graph), 0, 0
    run.reset(frames_of(NAME).shape[1])
    for frame in frames_of(NAME):
        before = run.state["lif1/v"]
        values = run.step(frame)
        (currents,) = conv.evaluate(frame.astype(float))
        (pooled,) = graph.nodes[1].op.evaluate(currents)
        (spikes,), _ = graph.node("lif1").op.step((pooled,), {"v": before})  # type: ignore[attr-defined]
        apart += int((spikes != values["lif1"]).sum())
        cells += spikes.size
    assert first.flips[2] == pytest.approx(apart / cells)


SHARES = st.lists(st.floats(0, 0.2), min_size=3, max_size=3).map(lambda found: sorted(found, reverse=True))
LAYERS = st.lists(st.tuples(st.integers(1, 50), SHARES), min_size=1, max_size=4)


def _made(layers: list[tuple[int, list[float]]]) -> list[Sensitivity]:
    return [
        Sensitivity(str(index), weights, dict(zip((2, 3, 4), shares, strict=True)))
        for index, (weights, shares) in enumerate(layers)
    ]


@given(LAYERS, st.floats(0, 0.5))
@settings(max_examples=60, deadline=None)
def test_a_budget_of_flips_is_kept_unless_nothing_keeps_it(
    layers: list[tuple[int, list[float]]], budget: float
) -> None:
    made = _made(layers)
    bits = choose_bits(made, Budget(flips=budget))
    total = sum(one.flips[bits[one.layer]] for one in made)
    assert total <= budget or all(width == 4 for width in bits.values())


@given(LAYERS, st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_size_is_kept(layers: list[tuple[int, list[float]]], share: float) -> None:
    made = _made(layers)
    least, most = (sum(one.weights for one in made) * width / 8 for width in (2, 4))
    size = int(np.ceil(least + share * (most - least)))
    bits = choose_bits(made, Budget(size=size))
    assert sum(one.weights * bits[one.layer] for one in made) / 8 <= size


def test_the_choice_is_near_the_best_of_all_choices() -> None:
    made = [one for one in _measured() if one.layer != "head"]
    size = sum(one.weights for one in made) * 4 // 8
    bits = choose_bits(made, Budget(size=size))
    chosen = sum(one.flips[bits[one.layer]] for one in made)
    best = min(
        sum(one.flips[width] for one, width in zip(made, widths, strict=True))
        for widths in product(range(2, 9), repeat=len(made))
        if sum(one.weights * width for one, width in zip(made, widths, strict=True)) / 8 <= size
    )
    uniform = sum(one.flips[4] for one in made)
    assert best <= chosen <= max(1.3 * best, best + 0.002)
    assert chosen <= uniform


def test_what_cannot_fit_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"SL0901 --max-bytes: the weights do not fit \(wanted 2 bytes, got 3 bytes"
    ):
        choose_bits(_made([(10, [0.1] * 3)]), Budget(size=2))


@pytest.mark.parametrize("budget", [{}, {"flips": 0.1, "size": 3}])
def test_there_is_one_budget(budget: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"SL0901 --bits auto"):
        Budget(**budget)
