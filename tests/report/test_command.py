"""``spikeloom report``: one page, or one error and nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from spikeloom.cli import main
from spikeloom.compiler.bundle import Bundle
from tests.random_networks import RandomNetwork


@pytest.fixture
def source(tmp_path: Path, network: RandomNetwork, save_inputs: Callable[..., Path]) -> str:
    return str(save_inputs(tmp_path / "in.npz", network, [0] * 6))


def status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def test_a_page_is_written(
    bundle_for: Callable[[str], Bundle], source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report.html"
    bundle = str(bundle_for("onnx").path)
    assert (
        status("report", bundle, "--inputs", source, "-o", str(output), "--show", "in.npz[2]", "--json") == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert document["report"] == str(output)
    assert document["bytes"] == output.stat().st_size
    assert (document["samples"], document["shown"]) == (6, "in.npz[2]")
    assert 0 <= document["accuracy"] <= 1
    assert output.read_text("utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("wrong", [["--show", "nobody"], ["--engine", "none"], ["--labels", "x.tsv"]])
def test_an_error_leaves_nothing(
    bundle_for: Callable[[str], Bundle], source: str, tmp_path: Path, wrong: list[str]
) -> None:
    before = set(tmp_path.iterdir())
    arguments = ["--inputs", source, "-o", str(tmp_path / "report.html"), *wrong]
    assert status("report", str(bundle_for("onnx").path), *arguments) == 4
    assert set(tmp_path.iterdir()) == before


def test_a_folder_that_is_not_there(
    bundle_for: Callable[[str], Bundle], source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "none" / "report.html"
    assert status("report", str(bundle_for("onnx").path), "--inputs", source, "-o", str(output)) == 4
    assert "SL0902" in capsys.readouterr().err
