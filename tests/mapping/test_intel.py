"""Our mapping of networks whose core tables Intel's compiler printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.mapping.intel import Comparison, compare


@pytest.fixture(scope="module")
def comparisons(data: Path) -> list[Comparison]:
    return compare(data / "conformance" / "loihi2_measured" / "partition_tables.csv")


def test_no_more_cores_than_intels_compiler_within_the_limits(comparisons: list[Comparison]) -> None:
    assert {one.network: one.theirs for one in comparisons} == {
        "pilotnet_lif": 74,
        "oxford": 5,
        "mnist_mlp": 5,
    }
    for one in comparisons:
        assert one.keeps_limits
        assert one.least <= one.ours <= one.theirs


def test_layers_are_those_of_the_tables(comparisons: list[Comparison]) -> None:
    """Rows of dense layers in Intel's encoding: 27 words of 85 targets, 12 or 13 of 50, 3 of 10."""
    layers = {(one.network, layer.name): layer for one in comparisons for layer in one.layers}
    assert layers["pilotnet_lif", "conv3 24x7x48 tile(8,7,48)"].their_neurons == 8 * 7 * 48
    small = layers["mnist_mlp", "64->10"]
    assert small.our_words == small.their_words == 64 * 3
    for layer in layers.values():
        assert 0 < layer.full <= 1
        assert layer.worth <= layer.ours
        assert layer.ours <= layer.theirs or layer.name.startswith("input")
