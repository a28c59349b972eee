"""Compile, run, verify, estimate and inspect a network of our own, from each kind of source."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from spikeloom.compiler.bundle import read_bundle
from spikeloom.compiler.mapping.placement import Mapping
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.recordings import recordings
from tests.cli.conftest import CLASSES, TEST, Workshop
from tests.cli.terminal import spikeloom

STEPS, NEURONS, LAYERS = 4, 6 * 128, 6


@pytest.fixture(scope="module")
def frames(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test recordings as arrays."""
    path = tmp_path_factory.mktemp("arrays") / "frames.npz"
    samples = list(recordings(workshop.test, FrameRecipe.from_toml(workshop.recipe), workshop.labels))
    np.savez(path, x=np.stack([s.frames for s in samples]), y=[s.label or 0 for s in samples])
    return path


def test_compile_says_what_it_did(workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "tiny.loom"
    document = spikeloom(*workshop.compile(path, "--json")).json
    assert document["bundle"] == str(path)
    assert document["bytes"] == path.stat().st_size
    assert {"graph.json", "mapping.json", "onnx/step.onnx", "onnx/sequence.onnx"} <= {*document["members"]}
    assert len(document["rates"]) == LAYERS
    assert all(0.05 < rate < 0.7 for rate in document["rates"].values())
    exact = [entry for entry in document["ledger"] if entry["tolerance"] == "zero"]
    assert [entry["stage"] for entry in exact][1:] == ["onnx/sequence.onnx", "steps of loihi2"]
    assert all(entry["differing"] == 0 for entry in exact)
    assert document["dropped_events"]["tail"] > 0
    assert document["cores"] >= 1


def test_run(workshop: Workshop, bundle: Path) -> None:
    document = spikeloom("run", bundle, "--events", workshop.test, "--labels", workshop.labels, "--json").json
    assert document["samples"] == TEST
    assert document["labelled"] == TEST
    assert document["accuracy"] == document["right"] / TEST
    low, high = document["accuracy_interval"]
    assert low < document["accuracy"] < high
    assert len(document["layers"]) == LAYERS
    assert document["spikes_total"] == sum(layer["spikes"] for layer in document["layers"])
    for layer in document["layers"]:
        assert layer["rate"] == layer["spikes"] / (layer["neurons"] * STEPS * TEST)
        assert layer["rate"] > 0.05


def test_sources_of_the_same_samples_give_the_same_spikes(
    workshop: Workshop, bundle: Path, frames: Path, tmp_path: Path
) -> None:
    factory = tmp_path / "data.py"
    factory.write_text(
        "import numpy as np\n\n"
        f"CONTENT = np.load({str(frames)!r})\n\n\n"
        "def recordings():\n"
        "    return list(zip(CONTENT['x'], CONTENT['y']))\n"
    )
    sources: list[list[object]] = [
        ["--events", workshop.test, "--labels", workshop.labels],
        ["--events", f"{workshop.test}/*.bs2", "--labels", workshop.labels],
        ["--inputs", frames],
        ["--data", f"{factory}:recordings"],
    ]
    first, *others = [spikeloom("run", bundle, *source, "--json").json for source in sources]
    for other in others:
        for key in ("samples", "spikes_total", "layers", "accuracy"):
            assert other[key] == first[key]


def test_engines_of_run_agree(workshop: Workshop, bundle: Path) -> None:
    runs = [
        spikeloom("run", bundle, "--events", workshop.test, "--engine", engine, "--json").out
        for engine in ("onnx", "reference")
    ]
    assert runs[0] == runs[1]


def test_the_log_adds_up(workshop: Workshop, bundle: Path, tmp_path: Path) -> None:
    log, outputs = tmp_path / "counts.parquet", tmp_path / "evidence.parquet"
    document = spikeloom("run", bundle, "--events", workshop.test, "--labels", workshop.labels,
                         "--log", log, "--outputs", outputs, "--json").json  # fmt: skip
    check_log(log, document, bundle)
    predictions = check_outputs(outputs, document, TEST, STEPS, CLASSES)
    assert len({*predictions.values()}) > 1


def check_log(log: Path, document: dict[str, Any], bundle: Path) -> None:
    """The rows of a log add up to the totals, and stand on the cores that hold the layer."""
    rows = pq.read_table(log).to_pylist()
    spikes: Counter[str] = Counter()
    for row in rows:
        spikes[row["layer"]] += row["spikes"]
    assert spikes == {layer["name"]: layer["spikes"] for layer in document["layers"]}
    assert spikes.total() == document["spikes_total"]
    held = read_bundle(bundle)
    mapping = Mapping.from_json(held.json("mapping.json"), held.json("network.json"))
    for layer in document["layers"]:
        cores = {row["core"] for row in rows if row["layer"] == layer["name"]}
        assert cores == {*np.unique(mapping.cores_of(layer["name"])).tolist()}


def check_outputs(
    outputs: Path, document: dict[str, Any], samples: int, steps: int, classes: int
) -> dict[str, int]:
    """The last step of each sample predicts what the accuracy counts; gives the predictions."""
    rows = pq.read_table(outputs).to_pylist()
    assert len(rows) == samples * steps
    assert all(len(row["evidence"]) == classes for row in rows)
    last = [row for row in rows if row["step"] == steps - 1]
    assert len(last) == samples
    assert all(row["prediction"] == int(np.argmax(row["evidence"])) for row in last)
    right = sum(row["prediction"] == row["label"] for row in last)
    assert 0 < right == document["right"] == round(document["accuracy"] * samples)
    return {row["sample"]: row["prediction"] for row in last}


def test_verify_compares_every_cell(workshop: Workshop, bundle: Path) -> None:
    document = spikeloom("verify", bundle, "--events", workshop.test, "--json").json
    assert document["samples"] == TEST
    assert document["cells"] == TEST * STEPS * (NEURONS + CLASSES)
    assert document["mismatches"] == 0
    assert "first" not in document
    assert len(document["layers"]) == LAYERS + 1
    assert not any(document["layers"].values())
    assert {entry["tolerance"] for entry in document["against_trained"]} == {"zero", "bounded", "measured"}


def test_verify_without_samples_uses_the_stored_traces(bundle: Path) -> None:
    document = spikeloom("verify", bundle, "--json").json
    assert (document["samples"], document["mismatches"]) == (1, 0)
    assert document["cells"] == STEPS * (NEURONS + CLASSES)


def test_verify_takes_arrays(bundle: Path, frames: Path) -> None:
    assert spikeloom("verify", bundle, "--inputs", frames, "--json").json["samples"] == TEST


def test_estimate(workshop: Workshop, bundle: Path) -> None:
    document = spikeloom("estimate", bundle, "--events", workshop.test, "--json").json
    check_estimate(document)
    assert document["samples"] == TEST


def check_estimate(document: dict[str, Any]) -> None:
    """Both modes, each a band whose parts add up, and a source for every constant."""
    assert {*document["modes"]} == {"back_to_back", "sensor_paced"}
    for mode in document["modes"].values():
        for quantity in ("latency_s", "energy_j"):
            band = mode[quantity]
            assert 0 < band["low"] <= band["nominal"] <= band["high"]
            for end in ("low", "nominal", "high"):
                assert sum(part[end] for part in band["parts"].values()) == pytest.approx(band[end])
    paced, unpaced = (document["modes"][name]["latency_s"] for name in ("sensor_paced", "back_to_back"))
    assert "sensing_window" in paced["parts"]
    assert "sensing_window" not in unpaced["parts"]
    assert document["validated"] is False
    assert all(constant["source"] for constant in document["constants"].values())
    operations = document["operations"]
    assert operations["acs"] > 0
    assert operations["macs"] + operations["acs"] <= operations["dense"]


def test_a_target_without_a_cost_model_counts_operations_only(workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "tiny.loom"
    spikeloom(*workshop.compile(path, "--target", "onnx"))
    document = spikeloom("estimate", path, "--events", workshop.test, "--json").json
    assert document["modes"] == {}
    assert document["operations"]["acs"] > 0
    assert "spikeloom targets" in document["validation"]
    assert "no latency or energy" in spikeloom("estimate", path, "--events", workshop.test).out
    log = tmp_path / "counts.parquet"
    document = spikeloom("run", path, "--events", workshop.test, "--log", log, "--json").json
    rows = pq.read_table(log).to_pylist()
    assert {row["core"] for row in rows} == {None}
    assert sum(row["spikes"] for row in rows) == document["spikes_total"]


def test_a_bundle_may_be_a_folder(workshop: Workshop, bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"format": 0, "members": {"older.json": {}}, "seal": ""}')
    (folder / "older.json").write_text("{}")
    spikeloom(*workshop.compile(folder))
    assert not (folder / "older.json").exists()
    args = ("--events", workshop.test, "--json")
    assert spikeloom("run", folder, *args).out == spikeloom("run", bundle, *args).out


def test_inspect(bundle: Path) -> None:
    document = spikeloom("inspect", bundle, "--json").json
    assert document["target"] == "loihi2"
    assert document["neurons"] == NEURONS
    assert document["options"]["bits"] == 8
    assert document["provenance"] == {"model": "Tiny", "checkpoint": "tiny.pt"}
    assert document["recipe"]["steps"] == STEPS
    chip = document["chip"]
    assert (chip["name"], chip["chips"], chip["steps"]) == ("loihi2", 1, 1)
    assert sum(share["neurons"] for share in chip["shares"].values()) > NEURONS
    assert f"on {chip['cores']} core" in spikeloom("inspect", bundle).out
    graph = spikeloom("inspect", bundle, "--graph").out
    assert "attention.fire = integer_neuron(" in graph


def test_a_stage_can_be_the_last_and_be_printed(workshop: Workshop, tmp_path: Path) -> None:
    args = workshop.compile(tmp_path / "x.loom", "--stop-after", "mapped", "--json")
    printed = ("--dump-after", "capture", "--dump-after", "integer", "--dump-after", "mapped")
    answer = spikeloom(*args, *printed)
    assert "attention.fire = neuron(" in answer.err
    assert "attention.fire = integer_neuron(" in answer.err
    assert "bundle" not in answer.json, "what is printed leaves the JSON alone"
    assert not (tmp_path / "x.loom").exists()


def test_only_the_mapping_with_a_page_that_draws_it(workshop: Workshop, tmp_path: Path) -> None:
    page = tmp_path / "mapping.html"
    document = spikeloom(*workshop.compile(page, "--map-only", "--json")).json
    assert "bundle" not in document
    assert document["page"] == str(page)
    assert document["bytes"] == page.stat().st_size
    why = document["mapping"]["explanation"]
    assert why["cores"] == document["cores"] == sum(why["binding"].values())
    assert why["least_messages"] <= why["messages"] == document["mapping"]["load"]["messages"]
    assert page.read_text().count("<svg") == 4 + len(document["mapping"]["limits"])
    printed = spikeloom(*workshop.compile(page, "--map-only")).out
    assert "weights of one bit less" in printed
    assert f"wrote {page}" in printed


def test_calibration_and_shape_may_come_from_elsewhere(
    workshop: Workshop, frames: Path, tmp_path: Path
) -> None:
    """Frames as arrays, another width of weights, the input's shape on the command line."""
    document = spikeloom(
        "compile", workshop.model, "--weights", workshop.weights, "--recipe", workshop.recipe, "--bits", 5,
        "--calibrate", frames, "--input-shape", "T,B,2,8,8", "--samples", 3, "--ledger", 2,
        "-o", tmp_path / "x.loom", "--json",
    ).json  # fmt: skip
    assert {entry["bits"] for entry in document["weights"]} == {5}
    assert {entry["samples"] for entry in document["ledger"]} == {2}


def test_keys_without_a_place_are_told(workshop: Workshop, tmp_path: Path) -> None:
    import torch

    content = torch.load(workshop.weights, weights_only=True)
    content["state_dict"]["decoder.weight"] = torch.zeros(2)
    torch.save(content, tmp_path / "more.pt")
    args = ("compile", workshop.model, "--weights", tmp_path / "more.pt", "--recipe", workshop.recipe,
            "--calibrate", workshop.train, "-o", tmp_path / "x.loom", "--stop-after", "capture")  # fmt: skip
    assert "no place in the model: decoder.weight" in spikeloom(*args).out
