"""The digits' recordings are real event files, with the right labels, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from examples.digits.make_recordings import main, make_recordings, split
from spikeloom.errors import InputError
from spikeloom.runtime.events.formats import open_events
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.recordings import recordings
from spikeloom.runtime.events.stream import Geometry

RECIPE = FrameRecipe.from_toml(Path(__file__).resolve().parents[2] / "examples" / "digits" / "recipe.toml")


def test_split_holds_out_equal_shares_of_the_classes() -> None:
    parts = split()
    assert sorted(parts["train"] + parts["test"]) == list(range(1797))
    assert len(parts["test"]) == 360
    counts = np.bincount(load_digits().target[parts["test"]])
    assert counts.min() >= 34
    assert counts.max() <= 37


@pytest.mark.parametrize("part", ["train", "test"])
def test_recordings_are_readable_and_labelled(digits: Path, part: str) -> None:
    samples = list(recordings(digits / part, RECIPE, labels=digits / f"{part}.tsv"))
    assert len(samples) == 60
    classes = load_digits().target
    for sample in samples:
        assert sample.label == classes[int(Path(sample.name).stem)]
        assert sample.frames.shape == (5, 2, 16, 16)
        assert not sample.report  # nothing was dropped
        assert sample.frames.any(axis=(2, 3)).all()  # both polarities, in every frame


def test_files_hold_what_the_camera_saw(digits: Path) -> None:
    path = min((digits / "test").iterdir())
    events = np.concatenate(list(open_events(path, Geometry(16, 16))))
    assert len(events) * 5 == path.stat().st_size
    assert 200 < len(events) < 2000


def test_same_bytes_each_time_and_for_each_limit(digits: Path, tmp_path: Path) -> None:
    make_recordings(tmp_path, {"test": split()["test"][:20]})
    files = sorted((tmp_path / "test").iterdir())
    assert len(files) == 20
    for path in files:
        assert path.read_bytes() == (digits / "test" / path.name).read_bytes()
    table, whole = (folder.joinpath("test.tsv").read_text() for folder in (tmp_path, digits))
    assert whole.startswith(table)


def test_another_seed_gives_other_noise(digits: Path, tmp_path: Path) -> None:
    make_recordings(tmp_path, {"test": split()["test"][:1]}, seed=1)
    (path,) = (tmp_path / "test").iterdir()
    assert path.read_bytes() != (digits / "test" / path.name).read_bytes()


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="SL0902"):
        make_recordings(tmp_path, {"test": [0]})
    assert (tmp_path / "test" / "thesis.tex").read_text() == "mine"


def test_command_line(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    run = CliRunner().invoke(app, [str(tmp_path / "new"), "--test-only", "--limit", "3"])
    assert run.exit_code == 0
    assert "3 recordings" in run.stdout
    assert not (tmp_path / "new" / "train").exists()
    again = CliRunner().invoke(app, [str(tmp_path / "new"), "--test-only", "--limit", "2"])
    assert again.exit_code == 0
    assert len(list((tmp_path / "new" / "test").iterdir())) == 2
    (tmp_path / "new" / "test" / "notes.md").touch()
    refused = CliRunner().invoke(app, [str(tmp_path / "new"), "--test-only"])
    assert refused.exit_code == 4
    assert "SL0902" in refused.stderr
