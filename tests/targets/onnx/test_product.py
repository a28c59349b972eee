"""The bounds on which exact products rest, against arithmetic done in full."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from spikeloom.compiler.graph.kinds import SPIKES, Kind, current, levels
from spikeloom.targets.onnx.product import Encoding, pairs_saturate, wide_type


@pytest.mark.parametrize("largest", [1, 127, 128, 129, 130, 200, 255])
@pytest.mark.parametrize("weights", [(-127, 127), (-128, 127), (-64, 64), (-63, 65), (0, 127), (-128, 0)])
def test_pairs_saturate_where_a_sum_of_two_products_leaves_int16(
    largest: int, weights: tuple[int, int]
) -> None:
    """vpmaddubsw adds two products of an unsigned and a signed byte and saturates at 16 bits."""
    corners = list(itertools.product((0, largest), weights))
    sums = [a * w + b * x for (a, w), (b, x) in itertools.product(corners, corners)]
    leaves = min(sums) < -(2**15) or max(sums) >= 2**15
    assert pairs_saturate(largest, *weights) == leaves


def test_split_activations_never_saturate() -> None:
    assert not pairs_saturate(127, -128, 127)
    assert not pairs_saturate(128, -128, 127)


def test_float32_is_exact_up_to_its_bound_and_no_further() -> None:
    assert int(np.float32(2**24 - 1)) == 2**24 - 1
    assert int(np.float32(2**24 + 1)) != 2**24 + 1
    assert wide_type(2**24, 1) == "float32"
    assert wide_type(2**24 + 1, 1) == "int32"
    assert wide_type(10, 2**24 + 1) == "int32"
    assert (wide_type(2**31 - 1, 1), wide_type(2**31, 1)) == ("int32", "int64")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (SPIKES, Encoding("uint8")),
        (levels(128), Encoding("uint8")),
        (levels(200), Encoding("uint8", split=True)),
        (current(-3, 100), Encoding("uint8", zero=3)),
        (current(-100, 100), Encoding("uint8", zero=100, split=True)),
        (current(-255, 0), Encoding("uint8", zero=255, split=True)),
        (current(5, 9), Encoding("uint8")),
        (current(-200, 100), Encoding("float32")),
        (Kind("sum", 0, 256), Encoding("float32")),
        (current(0, 40_000), Encoding("int32")),
    ],
)
def test_encoding(kind: Kind, expected: Encoding) -> None:
    weight = np.array([[127, -127, 100, -100], [1, 2, 3, 4]], np.int8)
    assert Encoding.choose(kind, weight) == expected


def test_weights_wider_than_a_byte_are_not_put_into_one() -> None:
    assert Encoding.choose(SPIKES, np.array([[128]])).dtype == "float32"
    assert Encoding.choose(SPIKES, np.array([[-128]])).dtype == "uint8"


def test_a_sum_of_bytes_that_could_pass_int32_is_not_trusted_to_bytes() -> None:
    weight = np.full((1, 2**31 // (255 * 127) + 1), 127, np.int8)
    assert Encoding.choose(levels(255), weight).dtype == "int64"
