"""Networks on time surfaces, voxel grids, points and cropped frames: compiled, run everywhere, streamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.bundle import read_bundle
from spikeloom.runtime.events.array_recipe import event_recipe
from spikeloom.runtime.events.formats import open_events
from spikeloom.runtime.events.samples.recordings import recordings
from spikeloom.runtime.events.stream import Geometry
from spikeloom.runtime.session import Session
from tests.cli.conftest import RECIPE, Workshop
from tests.cli.terminal import refused, spikeloom

MODEL = """
import torch
from torch import nn
from spikingjelly.activation_based import layer, neuron


def build():
    torch.manual_seed(3)
    return nn.Sequential(
        layer.Flatten(2),
        layer.Linear({inputs}, 24, step_mode="m"),
        neuron.LIFNode(step_mode="m", v_threshold={threshold}),
        layer.Linear(24, 3, step_mode="m"),
    ).eval()
"""
SHORT = RECIPE.replace("duration_us = 1000\n", "")
SURFACE = 'frame = "time_surface"\nlevels = 63\ntau_us = 900\n'
GRID = 'frame = "voxel_grid"\nlevels = 12\npolarity = ["on-off"]\n'
RECIPES = {
    "time_surface": (RECIPE + SURFACE, (2, 8, 8), 0.05),
    "voxel_grid": (RECIPE + GRID, (1, 8, 8), 0.1),
    "whole_voxel_grid": (SHORT + 'kind = "time"\n' + GRID, (1, 8, 8), 0.1),
    "points": (RECIPE + 'frame = "points"\npoints = 16\n', (4, 16), 0.05),
    "cropped": (RECIPE + 'crop = [6, 6]\ndownsample = [2, 0.5]\nvalue = "count"\n', (2, 3, 3), 0.2),
}


def compiled(workshop: Workshop, folder: Path, name: str) -> Path:
    recipe, shape, threshold = RECIPES[name]
    (folder / "recipe.toml").write_text(recipe)
    source = MODEL.format(inputs=int(np.prod(shape)), threshold=threshold)
    (folder / "model.py").write_text(source)
    output = folder / f"{name}.loom"
    spikeloom(
        "compile", f"{folder}/model.py:build", "--recipe", folder / "recipe.toml",
        "--calibrate", workshop.train, "--target", "onnx", "-o", output,
    )  # fmt: skip
    return output


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_from_the_file_to_the_answer(workshop: Workshop, tmp_path: Path, name: str) -> None:
    bundle = compiled(workshop, tmp_path, name)
    answer = spikeloom("run", bundle, "--events", workshop.test, "--labels", workshop.labels, "--json").json
    assert answer["samples"] == 7
    assert 0.02 < answer["layers"][0]["rate"] < 0.9
    engines = "reference,onnx,event"
    verified = spikeloom("verify", bundle, "--events", workshop.test, "--engines", engines, "--json").json
    assert not verified["mismatches"]
    found = spikeloom("inspect", bundle, "--json").json["recipe"]
    assert found["frame"] == {"whole_voxel_grid": "voxel_grid", "cropped": "counts"}.get(name, name)


@pytest.mark.parametrize("name", sorted({*RECIPES} - {"whole_voxel_grid"}))
def test_its_stream_gives_what_the_recording_gives(workshop: Workshop, tmp_path: Path, name: str) -> None:
    session = Session(read_bundle(compiled(workshop, tmp_path, name)))
    recipe = event_recipe(session.recipe, name)
    for sample in recordings(workshop.test, recipe):
        [whole] = session.run([sample])
        path = workshop.test / sample.name
        for chunk in (1, 17, 1000):
            steps = list(session.stream(open_events(path, recipe.geometry, chunk_events=chunk)))
            assert np.array_equal([step.evidence for step in steps], whole.evidence)


def test_what_cannot_be_streamed_is_named(workshop: Workshop, tmp_path: Path) -> None:
    bundle = compiled(workshop, tmp_path, "whole_voxel_grid")
    [problem] = refused("stream", bundle, workshop.test / "0.bs2", within=tmp_path)
    assert problem.code == "SL0110"
    assert 'kind "time" cannot be streamed' in problem.what
    assert problem.wanted == '"fixed_duration"'


def test_what_is_cropped_is_counted(workshop: Workshop, tmp_path: Path) -> None:
    bundle = compiled(workshop, tmp_path, "cropped")
    answer = spikeloom("run", bundle, "--events", workshop.test / "0.bs2", "--json").json
    events = np.concatenate(list(open_events(workshop.test / "0.bs2", Geometry(8, 8))))
    inside = (events["x"] >= 1) & (events["x"] < 7) & (events["y"] >= 1) & (events["y"] < 7)
    assert answer["dropped_events"]["cropped"] == int((~inside).sum()) > 0
    printed = spikeloom("run", bundle, "--events", workshop.test / "0.bs2").out
    assert f"{(~inside).sum()} events outside the crop" in printed
