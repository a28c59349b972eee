"""Training repeats exactly, learns, and writes checkpoints that load; accuracy comes with its interval."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

import examples.digits.train
import examples.nmnist.train
from examples import training
from examples.digits.model import CONFIG, build
from examples.training import Plan, Recordings, load_recordings
from spikeloom.errors import InputError
from spikeloom.runtime.events.recipe import FrameRecipe

PLAN = Plan(epochs=1, shift=1, seed=3)


@pytest.fixture(scope="module")
def seen(digits: Path) -> Recordings:
    return load_recordings(digits, "train", FrameRecipe.from_toml(examples.digits.train.RECIPE))


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(training)
    assert result.attempted
    assert not result.failed


def test_same_seed_same_network_and_the_loss_falls(seen: Recordings) -> None:
    lines: list[str] = []
    few = seen.take(torch.arange(32))
    first = training.train(build, few, Plan(epochs=6, shift=0, seed=3), lines.append)
    second = training.train(build, few, Plan(epochs=6, shift=0, seed=3), lambda line: None)
    other = training.train(build, few, Plan(epochs=1, shift=0, seed=4), lambda line: None)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key
    assert not torch.equal(first.state_dict()["head.weight"], other.state_dict()["head.weight"])
    losses = [float(line.split()[-1]) for line in lines]
    assert len(losses) == 6
    assert losses[-1] < losses[0]


def test_shift_rolls_each_recording_by_a_distance_of_its_own(seen: Recordings) -> None:
    torch.manual_seed(0)
    moved = training._shifted(seen.frames, 1)
    places = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    used = set()
    for before, after in zip(seen.frames, moved, strict=True):
        fitting = [place for place in places if torch.equal(torch.roll(before, place, (2, 3)), after)]
        assert fitting
        used.add(fitting[0])
    assert len(used) > 4


def test_training_writes_a_checkpoint_that_gives_the_accuracy_it_says(digits: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    recipe = examples.digits.train.RECIPE
    result = training.train_checkpoint(digits, path, recipe, build, CONFIG, PLAN, lambda line: None)
    held_out = load_recordings(digits, "test", FrameRecipe.from_toml(examples.digits.train.RECIPE))
    model = training.load_checkpoint(path, build)
    assert training.measure(model, held_out).to_json() == result["held_out"]
    content = torch.load(path, weights_only=True)
    assert content["config"] == CONFIG
    assert content["provenance"]["seed"] == 3


def test_folds_test_each_recording_once(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the digits, which are faster than N-MNIST: the recipe is the script's own name."""
    monkeypatch.setattr(examples.nmnist.train, "RECIPE", examples.digits.train.RECIPE)
    result = examples.nmnist.train.cross_validate(digits, 3, PLAN, build)
    assert sum(fold["n"] for fold in result["folds"]) == result["pooled"]["n"] == 120
    assert sum(fold["right"] for fold in result["folds"]) == result["pooled"]["right"]
    assert result["mean"] == pytest.approx(sum(fold["accuracy"] for fold in result["folds"]) / 3)


@pytest.mark.parametrize("script", [examples.digits.train, examples.nmnist.train])
def test_bad_input_is_one_clear_error(script: object, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(script.main)  # type: ignore[attr-defined]
    run = CliRunner().invoke(app, [str(tmp_path), "-o", str(tmp_path / "a.pt")])
    assert run.exit_code == 4
    assert run.stderr.startswith("SL01")
    assert not (tmp_path / "a.pt").exists()


def test_missing_output_folder_is_found_before_the_training(digits: Path, tmp_path: Path) -> None:
    recipe, lines = examples.digits.train.RECIPE, list[str]()
    with pytest.raises(InputError, match="SL0902"):
        training.train_checkpoint(digits, tmp_path / "no" / "a.pt", recipe, build, CONFIG, PLAN, lines.append)
    assert not lines


def test_command_line_prints_json(digits: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(examples.digits.train.main)
    run = CliRunner().invoke(app, [str(digits), "-o", str(tmp_path / "a.pt"), "--epochs", "1"])
    assert run.exit_code == 0
    assert json.loads(run.stdout)["held_out"]["n"] == 60


def test_missing_checkpoint_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SL0202"):
        training.load_checkpoint(tmp_path / "none.pt", build)
