"""Fine-tuning of the examples: a bundle that answers as the trained module does, and the page of figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

import examples.fine_tune
import examples.quantization_table
import spikeloom
from examples.fine_tune import EXAMPLES, fine_tune, prepare
from examples.training import answers, load_checkpoint, load_recordings
from spikeloom.runtime.events.samples.recordings import recordings
from spikeloom.runtime.session import Session

ROOT = Path(__file__).resolve().parents[2]


def _run(command: Any, *arguments: object) -> Any:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_fine_tuned_bundle_answers_as_the_module(digits: Path, tmp_path: Path) -> None:
    path = tmp_path / "tuned.loom"
    told = _run(examples.fine_tune.main, "digits", digits, "-o", path, "--bits", 3, "--epochs", 1)
    assert told.exit_code == 0, told.output
    result = json.loads(told.stdout)
    assert {step: result[step]["n"] for step in result} == {"trained": 60, "rounded": 60, "fine_tuned": 60}
    assert result["fine_tuned"]["right"] >= 50
    bundle = spikeloom.load(path)
    held_out = recordings(digits / "test", EXAMPLES["digits"].recipe, digits / "test.tsv")
    done = list(Session(bundle).run(held_out))
    assert sum(one.prediction == one.sample.label for one in done) == result["fine_tuned"]["right"]
    entry = next(one for one in bundle.json("ledger.json") if "fine-tuned" in one["against"])
    assert entry["differing"] == 0 < entry["cells"]
    assert {one["bits"] for one in bundle.json("activity.json")["layers"] if one["weights"]} == {3}


def test_the_same_seed_gives_the_same_integers(digits: Path) -> None:
    torch.set_num_threads(1)
    example = EXAMPLES["digits"]
    assert example.weights is not None
    seen = load_recordings(digits, "train", example.recipe)
    model = load_checkpoint(example.weights, example.build)
    weights = []
    for _ in range(2):
        prepared = prepare(example, model, seen, spikeloom.Options("loihi2", 2), seed=5)
        fine_tune(example, prepared, model, seen, bits=2, epochs=1, seed=5)
        weights.append({name: value.clone() for name, value in prepared.state_dict().items()})
        assert len(answers(prepared, seen.frames[:10])) == 10
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["cats"], "SL0901 cats: is no example"), (["nmnist"], "SL0901 --weights: the network comes without")],
)
def test_what_there_is_not_is_refused(arguments: list[str], named: str, digits: Path, tmp_path: Path) -> None:
    told = _run(examples.fine_tune.main, *arguments, digits, "-o", tmp_path / "x.loom")
    assert told.exit_code == 4
    assert named in told.stderr


def test_the_table_is_measured_and_goes_on(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention's products are refused by loihi1, by name; what the output holds is not measured again."""
    monkeypatch.setattr(examples.quantization_table, "WIDTHS", (3,))
    path = tmp_path / "digits.json"
    arguments = ["digits", digits, "-o", path, "--epochs", 1, "--targets", "loihi2,loihi1"]
    for seeds in (1, 2, 2):
        told = _run(examples.quantization_table.main, *arguments, "--seeds", seeds)
        assert told.exit_code == 0, told.output
    assert "bits" not in told.output
    rows = json.loads(path.read_text())["rows"]
    assert [(row["seed"], row["target"], row["bits"]) for row in rows] == [
        (0, "loihi2", 3),
        (0, "loihi1", 3),
        (1, "loihi2", 3),
    ]
    assert any(problem.startswith("SL0602 blocks.0.attn.matmul:") for problem in rows[1]["refused"])
    for row in (rows[0], rows[2]):
        assert {row[step]["n"] for step in ("trained", "rounded", "corrected", "fine_tuned")} == {60}
        trained, last = row["trained"], row["fine_tuned"]
        assert last["right"] == trained["right"] - last["lost"] + last["gained"]
    assert _run(examples.quantization_table.main, *arguments[:-4], "--epochs", 2).exit_code == 2


def test_the_page_of_figures_is_current() -> None:
    written = subprocess.run(
        [sys.executable, ROOT / "docs" / "render_quantization.py", "-"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    assert written.stdout == (ROOT / "docs" / "quantization.md").read_text(encoding="utf-8"), (
        "run `make docs`"
    )
