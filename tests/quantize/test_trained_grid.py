"""Weights that were trained on a grid are taken over; others are not taken for such."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.quantize.weights import trained_grid


def _lsq(bits: int, seed: int, shape: tuple[int, ...] = (6, 5, 3, 3)) -> tuple[np.ndarray, np.ndarray]:
    """Integers, and what PyTorch would hold: times a step per channel in float32, times a batch norm."""
    rng = np.random.default_rng(seed)
    integers = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), shape)
    alpha = rng.uniform(0.001, 0.1, (shape[0], *(1,) * (len(shape) - 1))).astype(np.float32)
    gain = rng.normal(size=alpha.shape)
    return integers * np.sign(gain).astype(int), (integers.astype(np.float32) * alpha) * gain


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("seed", range(4))
def test_integers_are_found_again(bits: int, seed: int) -> None:
    integers, weight = _lsq(bits, seed)
    found = trained_grid(weight, NumericProfile("wide", 8))
    if bits == 8 and integers.max() > 127:  # a gain below zero turns -128 into 128
        assert found is None
        return
    assert found is not None
    rows = zip(found.integers.reshape(6, -1).astype(int), integers.reshape(6, -1), strict=True)
    for got, wanted in rows:
        factor = np.gcd.reduce(wanted)  # a larger step does as well
        np.testing.assert_array_equal(got * factor, wanted)
    steps = found.steps.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(found.integers * steps, weight, rtol=1e-5)
    assert found.error == 0


def test_other_weights_are_not() -> None:
    rng = np.random.default_rng(0)
    assert trained_grid(rng.normal(size=(6, 5, 3, 3)), NumericProfile("wide", 8)) is None
    _, weight = _lsq(4, 1)
    assert trained_grid(weight, NumericProfile("narrow", 3)) is None
    weight[2, 0, 0, 0] *= 1.01
    assert trained_grid(weight, NumericProfile("wide", 8)) is None


def test_channels_without_weights_stay_so() -> None:
    _, weight = _lsq(4, 1)
    weight[3] = 0
    found = trained_grid(weight, NumericProfile("wide", 4))
    assert found is None or not found.integers[3].any()
