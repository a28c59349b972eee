"""Rounding by the error of sums: against all roundings of few weights, and against the nearest integers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.quantize import compensate
from spikeloom.compiler.quantize.compensate import products_of_inputs, round_together


def _inputs(seed: int, rows: int, width: int) -> Array:
    """Spikes of neurons that mostly fire together."""
    rng = np.random.default_rng(seed)
    common = rng.random((rows, 1)) < 0.3
    return ((rng.random((rows, width)) < 0.15) | (common & (rng.random((rows, width)) < 0.7))).astype(float)


def _error(weight: Array, whole: Array, x: Array) -> Array:
    error: Array = np.square(x @ (weight - whole).T).mean(0)
    return error


@pytest.mark.parametrize("seed", range(5))
def test_few_weights_come_near_to_the_best_of_all_roundings(seed: int) -> None:
    x = _inputs(seed, 500, 5)
    weight = np.random.default_rng(seed).uniform(-1.4, 1.4, (8, 5))
    products = x.T @ x / len(x)
    whole = round_together(weight, products, 1)
    every = np.array(list(product((-1, 0, 1), repeat=5)))
    best = np.stack([_error(np.broadcast_to(row, every.shape), every, x).min() for row in weight])
    nearest = np.clip(np.rint(weight), -1, 1)
    assert _error(weight, whole, x).sum() <= 1.3 * best.sum()
    assert _error(weight, whole, x).sum() <= _error(weight, nearest, x).sum()


@pytest.mark.parametrize("limit", [1, 3, 7, 127])
def test_the_sums_of_many_have_a_far_smaller_error(limit: int) -> None:
    x = _inputs(1, 4000, 64)
    weight = np.clip(np.random.default_rng(2).normal(0, limit / 3, (32, 64)), -limit, limit)
    whole = round_together(weight, x.T @ x / len(x), limit)
    assert np.abs(whole).max() <= limit
    assert _error(weight, whole, x).sum() < 0.6 * _error(weight, np.rint(weight), x).sum()


def test_independent_inputs_leave_the_nearest_integers() -> None:
    weight = np.random.default_rng(0).normal(0, 3, (6, 10))
    assert (
        round_together(weight, np.diag(np.linspace(0.1, 0.9, 10)), 7) == np.clip(np.rint(weight), -7, 7)
    ).all()


def test_inputs_that_never_fire_leave_the_nearest_integers() -> None:
    weight = np.random.default_rng(0).normal(0, 3, (6, 10))
    assert (round_together(weight, np.zeros((10, 10)), 7) == np.clip(np.rint(weight), -7, 7)).all()


def test_the_products_of_a_convolution_are_those_of_its_sums() -> None:
    """w' G w is the mean square of what a channel adds up, at all positions and with the padding."""
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(6, 2, 3, 2))
    op = Conv2d(weight, None, (2, 1), (1, 0), (1, 2), groups=2)
    x = rng.random((9, 4, 7, 8))
    (sums,) = op.evaluate(x)
    for group, products in enumerate(products_of_inputs(op, x, centred=False)):
        own = slice(3 * group, 3 * group + 3)
        rows = weight[own].reshape(3, -1)
        expected = np.square(sums[:, own]).mean((0, 2, 3))
        np.testing.assert_allclose(np.einsum("oi,ij,oj->o", rows, products, rows), expected)


def test_centred_products_are_those_of_what_varies() -> None:
    x = np.random.default_rng(4).random((5, 3, 11, 4))
    (products,) = products_of_inputs(Linear(np.ones((2, 4))), x, centred=True)
    np.testing.assert_allclose(products, np.cov(x.reshape(-1, 4).T, bias=True))


def test_too_many_inputs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compensate, "MOST_INPUTS", 5)
    assert products_of_inputs(Conv1d(np.ones((2, 2, 3))), np.ones((1, 2, 9)), centred=True) == []


def test_of_many_recordings_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(5).random((400, 10, 4))
    (all_of_them,) = products_of_inputs(Linear(np.ones((2, 4))), x, centred=False)
    monkeypatch.setattr(compensate, "MOST_ROWS", 500)
    (some,) = products_of_inputs(Linear(np.ones((2, 4))), x, centred=False)
    np.testing.assert_allclose(some, all_of_them, rtol=0.1)
