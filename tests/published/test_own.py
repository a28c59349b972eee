"""Models of our own after published ones without public code: captured and run exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.models import KnownModel
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.recordings import recordings
from tests.cli.terminal import spikeloom
from tests.event_files import SENSOR, events, evt2
from tests.published.calibrated import compiled, make_it_fire, row_of
from tests.published.factories import convolutional_stem
from tests.published.factories import points as network_of_points
from tests.published.own import OWN, build_own

EACH = pytest.mark.parametrize("model", OWN, ids=lambda model: model.name)


@EACH
def test_a_reduced_size_runs_exactly(model: KnownModel) -> None:
    built, shape = build_own(model, reduced=True)
    row = row_of(built, compiled(built, shape, model.steps))
    assert row.proved > 0
    assert min(row.rates.values()) > 0
    assert row.mismatches == 0
    assert row.compared >= row.decisions > 0


def test_spikformer_v2_is_as_large_as_its_paper_says() -> None:
    network = convolutional_stem.SpikformerV2(16, 768, 12, 1000, 1)
    counted = sum(parameter.numel() for parameter in network.parameters())
    assert round(counted / 1e6) == 172  # «a 172M 16-layer Spikformer V2», abstract


def test_points_run_from_event_files(tmp_path: Path) -> None:
    """Recordings to clouds, to a bundle, to spikes that ONNX Runtime shares with the definition."""
    windows, points = 8, 32
    for folder, seeds in (("calibration", range(3)), ("test", range(3, 5))):
        (tmp_path / folder).mkdir()
        for seed in seeds:
            (tmp_path / folder / f"{seed}.raw").write_bytes(evt2(events(4000, seed, SENSOR, windows * 1000)))
    (tmp_path / "recipe.toml").write_text(
        f'frame = "points"\nwidth = {SENSOR.width}\nheight = {SENSOR.height}\n'
        f"steps = {windows}\nduration_us = 1000\npoints = {points}\n"
    )
    recipe = FrameRecipe.from_toml(tmp_path / "recipe.toml")
    clouds = np.stack([sample.frames for sample in recordings(tmp_path / "calibration", recipe)], 1)
    network = network_of_points.build(groups=4, width=16)
    real = np.ascontiguousarray(recipe.decode(clouds), np.float32)
    make_it_fire(network, InputShape.parse("T,B,4,32"), real)
    torch.save(network.state_dict(), tmp_path / "points.pt")
    model = f"{network_of_points.__file__}:build --arg groups=4 --arg width=16 --input-shape T,B,4,32"
    bundle = tmp_path / "points.loom"
    spikeloom(
        *f"compile {model} --weights {tmp_path}/points.pt --recipe {tmp_path}/recipe.toml".split(),
        *f"--target onnx --calibrate {tmp_path}/calibration -o {bundle} --json".split(),
    )
    ran = spikeloom(*f"run {bundle} --events {tmp_path}/test --json".split()).json
    assert (ran["samples"], ran["spikes_total"] > 0) == (2, True)
    verified = spikeloom(*f"verify {bundle} --events {tmp_path}/test --json".split()).json
    assert (verified["mismatches"], verified["samples"]) == (0, 2)
