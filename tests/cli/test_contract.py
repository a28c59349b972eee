"""The contract for scripts, word for word, on the trained Spikformer and the 60 test recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.recordings import recordings
from tests.cli.conftest import ROOT
from tests.cli.terminal import Answer, run_program, spikeloom
from tests.cli.test_chain import check_estimate, check_log, check_outputs

SAMPLES, STEPS, CLASSES, NEURONS = 60, 5, 10, 10_168
LAYERS = 10
RIGHT = 59  # of 60, as PyTorch gives it: SOURCES.md


def compile_command(data: Path, target: str, output: Path) -> list[str]:
    return (
        f"compile examples/nmnist/model.py:build --weights {data}/spikformer_tiny_nmnist.pt "
        f"--recipe examples/nmnist/recipe.toml --calibrate {data}/nmnist_small/train "
        f"--target {target} --bits 8 -o {output}"
    ).split()


@pytest.fixture(scope="module")
def nmnist(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle for the chip."""
    path = tmp_path_factory.mktemp("nmnist") / "nmnist.loom"
    with pytest.MonkeyPatch.context() as here:
        here.chdir(ROOT)
        spikeloom(*compile_command(data, "loihi2", path))
    return path


@pytest.fixture(scope="module")
def nmnist_onnx(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle for ONNX Runtime, compiled by a process of its own."""
    path = tmp_path_factory.mktemp("nmnist") / "nmnist.loom"
    answer = run_program(*compile_command(data, "onnx", path), "--json", cwd=ROOT)
    assert answer.status == 0, answer.err
    assert answer.err == ""
    assert answer.json["bundle"] == str(path)
    return path


def run(bundle: Path, data: Path, *more: object) -> Answer:
    events = f"run {bundle} --events {data}/nmnist_small/test --labels {data}/nmnist_small/test.tsv"
    return spikeloom(*events.split(), *more)


@pytest.fixture(scope="module")
def ran(nmnist: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run gave, and the folder of its files."""
    folder = tmp_path_factory.mktemp("ran")
    files = ("--log", folder / "counts.parquet", "--outputs", folder / "evidence.parquet")
    return {"folder": folder, **run(nmnist, data, "--engine", "onnx", *files, "--json").json}


def test_run(ran: dict[str, Any]) -> None:
    assert ran["samples"] == ran["labelled"] == SAMPLES
    assert ran["accuracy"] == ran["right"] / SAMPLES
    assert abs(ran["right"] - RIGHT) <= 1
    low, high = ran["accuracy_interval"]
    assert low < ran["accuracy"] < high
    assert len(ran["layers"]) == LAYERS
    assert sum(layer["neurons"] for layer in ran["layers"]) == NEURONS
    assert sum(layer["spikes"] for layer in ran["layers"]) == ran["spikes_total"]
    for layer in ran["layers"]:
        assert {"name", "neurons", "spikes", "rate"} <= layer.keys()
        assert layer["rate"] == layer["spikes"] / (layer["neurons"] * STEPS * SAMPLES)
        assert layer["rate"] > 0.01


def test_the_tail_that_is_dropped_is_told(ran: dict[str, Any], nmnist: Path, data: Path) -> None:
    from spikeloom.runtime.events.formats import open_events

    recipe = FrameRecipe.from_toml(ROOT / "examples/nmnist/recipe.toml")
    assert recipe.duration_us is not None
    end = recipe.steps * recipe.duration_us
    tail = sum(
        int((chunk["t"] >= end).sum())
        for file in (data / "nmnist_small/test").glob("*.bs2")
        for chunk in open_events(file, recipe.geometry)
    )
    assert tail > 0
    assert ran["dropped_events"]["tail"] == tail
    assert f"dropped: {tail:,} events after the last frame" in run(nmnist, data).out


def test_the_log_adds_up(ran: dict[str, Any], nmnist: Path) -> None:
    check_log(ran["folder"] / "counts.parquet", ran, nmnist)


def test_predictions_against_pytorch(ran: dict[str, Any], data: Path) -> None:
    """Float accuracy as PyTorch gives it, and the same prediction on nearly every recording."""
    import torch

    from spikeloom.cli.model import ModelSource, load_model

    integer = check_outputs(ran["folder"] / "evidence.parquet", ran, SAMPLES, STEPS, CLASSES)
    recipe = FrameRecipe.from_toml(ROOT / "examples/nmnist/recipe.toml")
    samples = list(recordings(data / "nmnist_small/test", recipe, data / "nmnist_small/test.tsv"))
    spec = f"{ROOT}/examples/nmnist/model.py:build"
    model = load_model(ModelSource(spec, data / "spikformer_tiny_nmnist.pt"), None, recipe).model.eval()
    frames = torch.from_numpy(np.stack([sample.frames for sample in samples], 1)).float()
    with torch.no_grad():
        floats = model(frames).mean(0).argmax(1).tolist()
    assert sum(p == sample.label for p, sample in zip(floats, samples, strict=True)) == RIGHT
    same = sum(p == integer[sample.name] for p, sample in zip(floats, samples, strict=True))
    assert same >= SAMPLES - 2


@pytest.mark.parametrize("engines", ["reference,onnx", "onnx,reference"])
def test_verify(engines: str, nmnist: Path, data: Path) -> None:
    events = f"verify {nmnist} --events {data}/nmnist_small/test --engines {engines} --json"
    document = spikeloom(*events.split()).json
    assert document["samples"] == SAMPLES
    assert document["cells"] == SAMPLES * STEPS * (NEURONS + CLASSES)
    assert document["mismatches"] == 0
    assert "first" not in document
    assert len(document["layers"]) == LAYERS + 1
    assert not any(document["layers"].values())


def test_estimate(nmnist: Path, data: Path) -> None:
    document = spikeloom(*f"estimate {nmnist} --events {data}/nmnist_small/test --json".split()).json
    check_estimate(document)
    assert document["samples"] == SAMPLES
    sensing = document["modes"]["sensor_paced"]["latency_s"]["parts"]["sensing_window"]
    assert sensing == {"low": 0.3, "nominal": 0.3, "high": 0.3}
    assert document["operations"]["dense"] == 8_148_480  # NeuroBench 2.3.0, SOURCES.md
    assert document["operations"]["products"] > 0


def test_both_targets_run_to_about_the_same_accuracy(nmnist_onnx: Path, data: Path) -> None:
    document = run(nmnist_onnx, data, "--json").json
    assert abs(document["right"] - RIGHT) <= 1
    verified = spikeloom(*f"verify {nmnist_onnx} --events {data}/nmnist_small/test --json".split()).json
    assert (verified["samples"], verified["mismatches"]) == (SAMPLES, 0)
    assert document["spikes_total"] > 0


def test_the_same_bytes_again(nmnist: Path, data: Path, tmp_path: Path) -> None:
    """Another process, another seed of Python's hashes, one thread."""
    path = tmp_path / "again.loom"
    seed = {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    answer = run_program(*compile_command(data, "loihi2", path), cwd=ROOT, **seed)
    assert answer.status == 0, answer.err
    assert path.read_bytes() == nmnist.read_bytes()
