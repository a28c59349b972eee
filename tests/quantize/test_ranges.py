"""Ranges of weights: nothing clipped, a percentile, the smallest error; widths of single layers."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.compiler.agreement import ask_oracle
from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.quantize.activity import measure_activity
from spikeloom.compiler.quantize.quantize import Quantized, quantize
from spikeloom.compiler.quantize.walk import Rounding
from spikeloom.compiler.quantize.weights import Range, free_steps, round_weights
from tests.integer_networks import PROFILES, STEPS, canonical, capture_of, frames_of, onnx_profile, quantized

RNG = np.random.default_rng(1)
MIN_MAX, PERCENTILE, ERROR = Range("minmax"), Range("percentile", 90.0), Range("error")


def _steps(weight: Array, within: Range, bits: int = 4) -> Array:
    return free_steps(weight, np.ones(weight.shape[1]), onnx_profile(bits), 1.0, within)


def test_min_max_clips_nothing() -> None:
    weight = RNG.normal(size=(4, 100))
    np.testing.assert_allclose(_steps(weight, MIN_MAX) * 7, np.abs(weight).max(1))


def test_a_percentile_of_each_channel_is_the_end_of_its_range() -> None:
    weight = RNG.normal(size=(4, 100))
    np.testing.assert_allclose(_steps(weight, PERCENTILE) * 7, np.percentile(np.abs(weight), 90, axis=1))


def test_a_percentile_of_nothing_is_not_taken() -> None:
    weight = np.zeros((1, 100))
    weight[0, 0] = 2.0
    np.testing.assert_allclose(_steps(weight, PERCENTILE) * 7, 2.0)


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_search_has_the_smallest_error_of_the_three(bits: int) -> None:
    weight, moment = RNG.normal(size=(6, 200)), RNG.uniform(0.01, 1, 200)
    profile = onnx_profile(bits)
    errors = {
        within.method: round_weights(
            weight, free_steps(weight, moment, profile, 1.0, within), moment, profile
        ).error
        for within in (MIN_MAX, ERROR)
    }
    assert errors["error"] <= errors["minmax"]
    assert bits > 5 or errors["error"] < errors["minmax"]


@pytest.mark.parametrize("within", [MIN_MAX, PERCENTILE, ERROR], ids=lambda within: within.method)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_range_gives_a_graph_within_its_bounds(profile: str, within: Range) -> None:
    graph, activity = canonical("Convolutional")
    result = quantize(graph, PROFILES[profile](4), activity, STEPS, rounding=Rounding(within))
    assert ask_oracle(capture_of("Convolutional"), result, frames_of("Convolutional")).cells > 0


def _widths(result: Quantized) -> dict[str, int]:
    return {
        node.name: int(np.abs(node.op.weight.astype(int)).max())
        for node in result.graph.nodes
        if isinstance(node.op, (Convolution, Linear))
    }


@pytest.mark.parametrize("profile", PROFILES)
def test_a_layer_may_have_another_width(profile: str) -> None:
    graph, activity = canonical("Convolutional")
    rounding = Rounding(bits={"grouped.0": 3})
    result = quantize(graph, PROFILES[profile](8), activity, STEPS, rounding=rounding)
    widths, plain = _widths(result), _widths(quantized("Convolutional", profile))
    assert widths.pop("grouped.0") <= 3
    assert plain.pop("grouped.0") > 30
    assert widths == plain
    assert {grid.layer: grid.bits for grid in result.grids}["grouped.0"] == 3
    assert ask_oracle(capture_of("Convolutional"), result, frames_of("Convolutional")).cells > 0


def test_peaks_may_be_percentiles() -> None:
    graph, activity = canonical("Convolutional")
    lower = measure_activity(graph, frames_of("Convolutional"), percentile=99.0).peaks
    assert all(lower[name] <= peak for name, peak in activity.peaks.items())
    assert lower["stem.0"] < activity.peaks["stem.0"]
    assert all(lower[node.name] == 1 for node in graph.neurons())
