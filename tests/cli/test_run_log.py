"""Logs of runs: a run that is killed goes on; what a log becomes; early exits; metrics."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from spikeloom.runtime.log.journal import read_log
from tests.cli.conftest import TEST, Workshop
from tests.cli.terminal import refused, run_program, spikeloom


@pytest.fixture(scope="module")
def log(workshop: Workshop, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "run.spikelog"
    spikeloom("run", bundle, "--events", workshop.test, "--labels", workshop.labels, "--log", path,
              "--detail", "neuron")  # fmt: skip
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_was_killed_goes_on(bundle: Path, shelf: Path, tmp_path: Path, workers: int) -> None:
    (shelf / "killed").unlink(missing_ok=True)
    path = tmp_path / "run.spikelog"
    command = ("run", bundle, "--data", f"{shelf}/mine.py:killing", "--batch", 1, "--workers", workers)
    killed = run_program(*command, "--log", path)
    assert killed.status == -9
    done = len(list(read_log(path)[1]))
    assert done <= 4
    assert done >= 4 or workers > 1
    went_on = spikeloom(*command, "--log", path, "--json")
    assert f"{done} of {TEST} samples were done already" in " ".join(went_on.err.split())
    assert went_on.json == spikeloom(*command, "--json").json
    names = [record.name for record in read_log(path)[1]]
    assert names == [f"killing[{index}]" for index in range(TEST)]


def test_threads_and_batches_change_nothing(workshop: Workshop, bundle: Path) -> None:
    command = ("run", bundle, "--events", workshop.test, "--labels", workshop.labels, "--json")
    plain = spikeloom(*command).json
    assert spikeloom(*command, "--workers", 3, "--batch", 2).json == plain


def test_a_log_of_another_run_is_refused(workshop: Workshop, bundle: Path, log: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run.spikelog"
    shutil.copy(log, copy)
    command = ("run", bundle, "--events", workshop.test, "--log", copy)
    [problem] = refused(*command, "--detail", "core", within=tmp_path)
    assert (problem.code, problem.what) == ("SL0811", "is the log of another run: detail differ")
    [problem] = refused(*command, "--engine", "reference", "--detail", "neuron", within=tmp_path)
    assert (problem.code, problem.where) == ("SL0811", str(copy))
    [problem] = refused(*command, "--detail", "atom", within=tmp_path)
    assert problem.code == "SL0901"


def test_the_log_says_what_the_run_said(workshop: Workshop, bundle: Path, log: Path) -> None:
    ran = spikeloom("run", bundle, "--events", workshop.test, "--labels", workshop.labels, "--json").json
    told = spikeloom("log", log, "--json").json
    assert (told["samples"], told["labelled"], told["right"]) == (TEST, TEST, ran["right"])
    assert told["spikes"] == {layer["name"]: layer["spikes"] for layer in ran["layers"]}
    assert told["options"] == {"engine": "onnx", "exit": None}
    assert f"{TEST} samples" in spikeloom("log", log).out


def test_tables(workshop: Workshop, bundle: Path, log: Path, tmp_path: Path) -> None:
    """Those of the log are those that a run writes at its end."""
    spikeloom("log", log, "--counts", tmp_path / "c.parquet", "--evidence", tmp_path / "e.parquet",
              "--spikes", tmp_path / "s.parquet")  # fmt: skip
    spikeloom("run", bundle, "--events", workshop.test, "--labels", workshop.labels,
              "--log", tmp_path / "c2.parquet", "--outputs", tmp_path / "e2.parquet")  # fmt: skip
    for name in ("c", "e"):
        assert pq.read_table(tmp_path / f"{name}.parquet").equals(
            pq.read_table(tmp_path / f"{name}2.parquet")
        )
    spikes = pq.read_table(tmp_path / "s.parquet").to_pylist()
    counts = pq.read_table(tmp_path / "c.parquet").to_pylist()
    by_step = Counter((row["sample"], row["layer"], row["step"]) for row in spikes)
    wanted: Counter[Any] = Counter()
    for row in counts:
        wanted[row["sample"], row["layer"], row["step"]] += row["spikes"]
    assert by_step == +wanted
    assert len(spikes) > 500


def test_sonata(log: Path, tmp_path: Path) -> None:
    """A reader of the format, by its description: times in milliseconds, sorted, one group a layer."""
    path = tmp_path / "s.h5"
    told = spikeloom("log", log, "--sonata", path, "--json").json
    about, records = read_log(log)
    kept = list(records)
    with h5py.File(path) as file:
        assert file.attrs["magic"] == 0x0A7A
        assert set(file["spikes"]) == set(about.shapes)
        for name, group in file["spikes"].items():
            times, nodes = group["timestamps"][:], group["node_ids"][:]
            assert group["timestamps"].attrs["units"] in ("ms", b"ms")
            assert (np.diff(times) >= 0).all()
            assert nodes.max() < about.layers[name]
            assert len(times) == len(nodes) == told["sonata"][name]
            first = kept[0].layers[name].train
            assert first is not None
            assert times[: len(first.steps)].tolist() == first.steps.tolist()  # a step is a millisecond here
            assert nodes[: len(first.neurons)].tolist() == first.neurons.tolist()
    one = spikeloom("log", log, "--sonata", path, "--sample", "3.bs2", "--json").json["sonata"]
    assert sum(one.values()) == sum(int(layer.fired.sum()) for layer in kept[3].layers.values())
    [problem] = refused("log", log, "--sonata", path, "--sample", "none", within=tmp_path)
    assert (problem.code, problem.what) == ("SL0811", "has no such sample")


def test_trace(log: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    told = spikeloom("log", log, "--trace", path, "--json").json
    trace = json.loads(path.read_text())["traceEvents"]
    assert len(trace) == told["trace_events"]
    about, records = read_log(log)
    names = {event["tid"]: event["args"]["name"] for event in trace if event["name"] == "thread_name"}
    slices = Counter[str]()
    for event in trace:
        if event["ph"] == "X" and event["tid"]:
            assert event["dur"] == about.step_us == 1000
            slices[names[event["tid"]]] += event["args"]["spikes"]
    assert slices == told["spikes"]
    counters = [e for e in trace if e["ph"] == "C" and "core" in e["name"]]
    assert sum(event["args"]["spikes"] for event in counters) == sum(told["spikes"].values())
    ends = [e["ts"] + e["dur"] for e in trace if e["ph"] == "X" and e["tid"] == 0]
    assert ends == [1000 * 4 * (number + 1) for number in range(len(list(records)))]


def test_pictures(log: Path, tmp_path: Path) -> None:
    told = spikeloom("log", log, "--plots", tmp_path / "p", "--sample", "2.bs2", "--json").json
    assert [Path(path).name for path in told["plots"]] == [
        "rates.svg", "step_rates.svg", "evidence.svg", "raster.svg",
    ]  # fmt: skip
    for path in told["plots"]:
        text = Path(path).read_text()
        assert "var(--" not in text
        ElementTree.fromstring(text)
    about, records = read_log(log)
    layer = next(iter(about.shapes))
    train = next(record for record in records if record.name == "2.bs2").layers[layer].train
    assert train is not None
    raster = (tmp_path / "p" / "raster.svg").read_text()
    assert raster.count(" L ") + raster.count("\nL ") >= len(train.steps)


def test_a_log_of_counts_has_no_spikes(workshop: Workshop, bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.spikelog"
    spikeloom("run", bundle, "--events", workshop.test, "--log", path)
    for option, name in (("--sonata", "out.h5"), ("--spikes", "out.parquet")):
        [problem] = refused("log", path, option, tmp_path / name, within=tmp_path)
        assert (problem.code, problem.remedy) == ("SL0811", "run with --detail neuron")
    told = spikeloom("log", path, "--plots", tmp_path / "p", "--json").json
    assert len(told["plots"]) == 3


# --- metrics ---------------------------------------------------------------------------------------------


def test_a_metric_of_the_user(workshop: Workshop, bundle: Path, shelf: Path) -> None:
    command = ("run", bundle, "--events", workshop.test, "--labels", workshop.labels)
    document = spikeloom(*command, "--metric", f"{shelf}/mine.py:accuracy", "--json").json
    found = document["metric"]
    assert (found["name"], found["value"]) == ("accuracy", document["accuracy"])
    low, high = found["interval"]
    assert 0 <= low <= found["value"] <= high <= 1
    assert low < high
    assert "accuracy 0." in spikeloom(*command, "--metric", f"{shelf}/mine.py:accuracy").out


def test_metrics_that_are_none(workshop: Workshop, bundle: Path, shelf: Path, tmp_path: Path) -> None:
    command = ("run", bundle, "--events", workshop.test)
    [problem] = refused(*command, "--metric", f"{shelf}/mine.py:accuracy", within=tmp_path)
    assert problem.code == "SL0120"
    labelled = (*command, "--labels", workshop.labels)
    [problem] = refused(*labelled, "--metric", f"{shelf}/mine.py:nothing", within=tmp_path)
    assert (problem.code, problem.what) == ("SL0121", "gives no finite number")
    [problem] = refused(*labelled, "--metric", f"{shelf}/mine.py:none", within=tmp_path)
    assert problem.code == "SL0201"


# --- early exit ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rule(workshop: Workshop, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exit")
    command = ("exit", bundle, "--events", workshop.test, "--labels", workshop.labels, "--loss", 0.4)
    told = spikeloom(*command, "-o", folder / "exit.json", "--front", folder / "front.svg", "--json").json
    assert told["calibration"]["recordings"] + told["held_out"]["recordings"] == TEST
    assert told["calibration"]["accuracy"] >= told["calibration"]["accuracy_without"] - 0.4
    ElementTree.fromstring((folder / "front.svg").read_text())
    return folder / "exit.json"


def test_runs_stop_early(workshop: Workshop, bundle: Path, rule: Path, tmp_path: Path) -> None:
    command = ("run", bundle, "--events", workshop.test, "--exit", rule, "--json")
    early = spikeloom(*command, "--log", tmp_path / "run.spikelog").json
    assert 1 <= early["steps_mean"] < 4
    full = spikeloom("run", bundle, "--events", workshop.test, "--json").json
    assert early["spikes_total"] < full["spikes_total"]
    steps = [len(record.evidence) for record in read_log(tmp_path / "run.spikelog")[1]]
    assert np.mean(steps) == early["steps_mean"]
    [problem] = refused("run", bundle, "--events", workshop.test, "--log", tmp_path / "run.spikelog",
                        within=tmp_path)  # fmt: skip
    assert problem.code == "SL0811"


def test_operations_and_energy_stop_where_inference_stops(
    workshop: Workshop, bundle: Path, rule: Path
) -> None:
    ran = spikeloom("run", bundle, "--events", workshop.test, "--exit", rule, "--json").json
    early = spikeloom("estimate", bundle, "--events", workshop.test, "--exit", rule, "--json").json
    full = spikeloom("estimate", bundle, "--events", workshop.test, "--json").json
    assert early["steps"] == pytest.approx(ran["steps_mean"])
    assert full["steps"] == 4
    share = early["steps"] / 4
    for work in ("dense", "updates", "dense_products"):
        assert early["operations"][work] == pytest.approx(share * full["operations"][work])
    assert early["operations"]["acs"] < full["operations"]["acs"]
    for mode in full["modes"]:
        for part in ("energy_j", "latency_s"):
            assert early["modes"][mode][part]["nominal"] < full["modes"][mode][part]["nominal"]


def test_a_rule_for_another_network(workshop: Workshop, bundle: Path, rule: Path, tmp_path: Path) -> None:
    other = tmp_path / "exit.json"
    other.write_text(json.dumps(json.loads(rule.read_text()) | {"network": "0" * 64}))
    for command in ("run", "estimate"):
        [problem] = refused(command, bundle, "--events", workshop.test, "--exit", other, within=tmp_path)
        assert problem.code == "SL0812"


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--rule", "guess"], "SL0901"), (["--loss", "2"], "SL0901"), (["--split", "1"], "SL0812"),
     (["--rule", "conformal", "--miscoverage", "0"], "SL0901"), (["--rule", "conformal"], "SL0812")],
)  # fmt: skip
def test_rules_that_cannot_be(
    options: list[str], code: str, workshop: Workshop, bundle: Path, tmp_path: Path
) -> None:
    command = ("exit", bundle, "--events", workshop.test, "--labels", workshop.labels)
    [problem] = refused(*command, "-o", tmp_path / "exit.json", *options, within=tmp_path)
    assert problem.code == code
    [problem] = refused("exit", bundle, "--events", workshop.test, "-o", tmp_path / "e.json", within=tmp_path)
    assert problem.code == "SL0120"
