"""``quantize``: widths, ranges, budgets, and the table of what rounding did to each layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Workshop
from tests.cli.terminal import refused, spikeloom

LAYERS = 6


def quantize(workshop: Workshop, *more: object) -> list[object]:
    """The arguments that quantize the model."""
    return ["quantize", workshop.model, "--weights", workshop.weights, "--recipe", workshop.recipe,
            "--calibrate", workshop.train, "--ledger", 3, *more]  # fmt: skip


def document(workshop: Workshop, *more: object) -> Any:
    return spikeloom(*quantize(workshop, "--json", *more)).json


def test_each_layer_has_its_line(workshop: Workshop) -> None:
    found = document(workshop)
    neurons = [layer for layer in found["layers"] if layer["layer"]]
    assert len(neurons) == LAYERS
    for layer in neurons:
        assert 0 <= layer["forced"] <= layer["cumulative"] + 0.02
        assert layer["trained"] > 0
        assert layer["integer"] > 0
        assert not layer["alarm"]
    weighted = [layer for layer in found["layers"] if layer["weights"]]
    assert {layer["bits"] for layer in weighted} == {8}
    assert all(layer["largest"] <= layer["limit"] == 127 for layer in weighted)
    assert found["samples"] == 3
    assert not found["corrections"]


def test_fewer_bits_flip_more_spikes_and_are_corrected(workshop: Workshop) -> None:
    wide, narrow = document(workshop), document(workshop, "--bits", 2)

    def flips(found: Any) -> float:
        return float(sum(layer["cumulative"] for layer in found["layers"] if layer["layer"]))

    assert flips(narrow) > 2 * flips(wide)
    assert len(narrow["corrections"]) == LAYERS
    assert narrow["bytes"] * 4 == pytest.approx(wide["bytes"], abs=4)
    assert not document(workshop, "--bits", 2, "--no-correct")["corrections"]
    assert len(document(workshop, "--correct")["corrections"]) == LAYERS


@pytest.mark.parametrize("method", ["error", "minmax", "percentile"])
def test_ranges(workshop: Workshop, method: str) -> None:
    found = document(workshop, "--bits", 4, "--range", method, "--percentile", 95, "--target", "onnx")
    assert all(layer["error"] > 0 for layer in found["weights"])


def test_a_budget_of_bytes_is_kept(workshop: Workshop) -> None:
    size = document(workshop)["bytes"] // 2
    found = document(workshop, "--bits", "auto", "--max-bytes", size)
    assert found["bytes"] <= size
    assert len({layer["bits"] for layer in found["weights"]}) > 1
    assert {one["layer"] for one in found["sensitivity"]} == {grid["layer"] for grid in found["weights"]}


def test_a_budget_of_flips_is_kept(workshop: Workshop) -> None:
    found = document(workshop, "--bits", "auto", "--max-flips", 0.3, "--target", "onnx")
    bits = {grid["layer"]: str(grid["bits"]) for grid in found["weights"]}
    assert 0 < sum(one["flips"][bits[one["layer"]]] for one in found["sensitivity"]) <= 0.3
    assert min(map(int, bits.values())) < 8


def test_the_table(workshop: Workshop) -> None:
    told = spikeloom(*quantize(workshop, "--bits", 3)).out
    for word in (
        "layer",
        "bits",
        "range",
        "forced",
        "cumul.",
        "alarm",
        "3/3",
        "were corrected",
        "same prediction",
    ):
        assert word in told


def test_a_network_of_several_widths_compiles(workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "mixed.loom"
    done = spikeloom(
        *workshop.compile(path, "--bits", "auto", "--max-flips", 0.2, "--json", "--target", "onnx")
    ).json
    assert len({layer["bits"] for layer in done["layers"] if layer["bits"]}) > 1
    spikeloom("verify", path, "--events", workshop.test)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--bits", "9"], "SL0901"),
        (["--bits", "many"], "SL0901"),
        (["--bits", "auto"], "SL0901"),
        (["--bits", "auto", "--max-flips", "0.1", "--max-bytes", "5"], "SL0901"),
        (["--bits", "auto", "--max-bytes", "5"], "SL0901"),
        (["--max-flips", "0.1"], "SL0901"),
        (["--max-bytes", "1000"], "SL0901"),
        (["--range", "best"], "SL0901"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    workshop: Workshop, tmp_path: Path, options: list[str], code: str
) -> None:
    [problem] = refused(*quantize(workshop), *options, within=tmp_path)
    assert problem.code == code
