"""Samples that cannot be used: one clear error for each fault, nothing left behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import EVENTS, TEST, Workshop
from tests.cli.terminal import refused, spikeloom

OUTSIDE = bytes([32, 4, 0, 0, 7])  # x = 32, y = 4 at 7 us


def empty(whole: bytes) -> bytes:
    return b""


def truncated(whole: bytes) -> bytes:
    return whole[:1001]


def outside(whole: bytes) -> bytes:
    return OUTSIDE + whole


def backwards(whole: bytes) -> bytes:
    return whole + whole[:5]


@pytest.fixture
def damaged(workshop: Workshop, tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of recordings, some of them damaged."""

    def make(*faults: Callable[[bytes], bytes]) -> Path:
        folder = tmp_path / "recordings"
        folder.mkdir()
        shutil.copy(workshop.test / "0.bs2", folder / "whole.bs2")
        for fault in faults:
            content = (workshop.test / "1.bs2").read_bytes()
            (folder / f"{fault.__name__}.bs2").write_bytes(fault(content))
        return folder

    return make


FAULTS = [
    (empty, "SL0102", "holds no events"),
    (truncated, "SL0103", "is truncated"),
    (outside, "SL0104", "outside the sensor"),
    (backwards, "SL0105", "backwards in time"),
]


@pytest.mark.parametrize("command", ["run", "verify", "estimate"])
def test_every_damaged_recording_is_named(
    command: str, bundle: Path, damaged: Callable[..., Path], tmp_path: Path
) -> None:
    folder = damaged(*(fault for fault, _, _ in FAULTS))
    problems = refused(command, bundle, "--events", folder, within=tmp_path)
    found = {problem.where.rpartition("/")[2]: problem for problem in problems}
    assert len(found) == len(problems) == len(FAULTS)
    for fault, code, what in FAULTS:
        problem = found[f"{fault.__name__}.bs2"]
        assert problem.code == code
        assert what in problem.what
        assert problem.remedy


def test_an_event_outside_the_sensor_is_located(
    bundle: Path, damaged: Callable[..., Path], tmp_path: Path
) -> None:
    [problem] = refused("run", bundle, "--events", damaged(outside) / "outside.bs2", within=tmp_path)
    assert problem.what == f"1 of {EVENTS + 1} events outside the sensor"
    assert problem.wanted == "8×8 pixels, 2 polarities"
    assert problem.got == "event 0 at byte 0: x=32 y=4 p=0 t=7 us"
    assert "--no-strict" in problem.remedy


def test_what_is_dropped_without_strict_is_told(
    bundle: Path, damaged: Callable[..., Path], tmp_path: Path
) -> None:
    folder = damaged(empty, truncated, outside, backwards)
    document = spikeloom("run", bundle, "--events", folder, "--no-strict", "--json").json
    assert document["samples"] == 5
    dropped = document["dropped_events"]
    assert (dropped["outside"], dropped["backwards"], dropped["left_over_bytes"]) == (1, 1, 1)
    assert dropped["tail"] > 0
    text = spikeloom("run", bundle, "--events", folder / "outside.bs2", "--no-strict").out
    assert "dropped: 1 event outside the sensor" in text
    assert "events after the last frame" in text


def test_compile_refuses_damaged_recordings_too(
    workshop: Workshop, damaged: Callable[..., Path], tmp_path: Path
) -> None:
    folder = damaged(truncated, outside)
    args = workshop.compile(tmp_path / "x.loom")
    args[args.index("--calibrate") + 1] = folder
    codes = [problem.code for problem in refused(*args, within=tmp_path)]
    assert codes == ["SL0104", "SL0103"]
    document = spikeloom(*args, "--no-strict", "--stop-after", "capture", "--json").json
    assert document["dropped_events"]["outside"] == 1


def test_many_bad_recordings_are_not_all_read(bundle: Path, tmp_path: Path) -> None:
    for index in range(30):
        (tmp_path / f"{index}.bs2").write_bytes(b"")
    problems = refused("run", bundle, "--events", tmp_path, within=tmp_path)
    assert len(problems) == 21
    assert problems[-1].what == "10 more samples not looked at"


def test_recordings_that_are_not_there(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("no recording")
    for path in ("missing.bs2", "missing/", "*.bs2", "notes"):
        [problem] = refused("run", bundle, "--events", tmp_path / path, within=tmp_path)
        assert problem.code == "SL0101"
        assert "no recordings here" in problem.what
        assert problem.what.startswith("does not exist") == path.startswith("missing")
    [problem] = refused("run", bundle, "--events", tmp_path / "notes" / "readme.txt", within=tmp_path)
    assert (problem.code, problem.got) == ("SL0106", ".txt")


LABELS = {
    "file,label\n": "has no header",
    "file\tlabel\ntest/0.bs2\tseven\n": "line",
    "file\tlabel\ntest/0.bs2\t1\n": "without a label",
    "": "has no header",
}


@pytest.mark.parametrize("content", LABELS)
def test_labels_that_cannot_be_used(content: str, workshop: Workshop, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(workshop.test, tmp_path / "test")
    table = tmp_path / "labels.tsv"
    table.write_text(content)
    args = ("run", bundle, "--events", tmp_path / "test", "--labels", table)
    problems = refused(*args, within=tmp_path)
    assert {problem.code for problem in problems} == {"SL0120"}
    assert LABELS[content] in problems[0].what
    table.unlink()
    [problem] = refused(*args, within=tmp_path)
    assert (problem.code, problem.where) == ("SL0120", str(table))


def test_labels_that_are_no_class_of_the_network(workshop: Workshop, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(workshop.test, tmp_path / "test")
    rows = [f"test/{index}.bs2\t{index}\n" for index in range(TEST)]
    (tmp_path / "labels.tsv").write_text("file\tlabel\n" + "".join(rows))
    args = ("--events", tmp_path / "test", "--labels", tmp_path / "labels.tsv")
    problems = refused("run", bundle, *args, within=tmp_path)
    assert [problem.got for problem in problems] == ["3", "4", "5", "6"]
    assert {(problem.code, problem.wanted) for problem in problems} == {("SL0803", "0 to 2")}


ARRAYS = {
    "other shape": (np.zeros((2, 4, 2, 9, 9)), "SL0111"),
    "not whole": (np.full((2, 4, 2, 8, 8), 0.5), "SL0121"),
    "too large": (np.full((2, 4, 2, 8, 8), 2), "SL0803"),
    "empty": (np.zeros((0, 4, 2, 8, 8)), "SL0121"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_cannot_be_used(name: str, bundle: Path, tmp_path: Path) -> None:
    x, code = ARRAYS[name]
    np.savez(tmp_path / "x.npz", x=x)
    [problem] = refused("run", bundle, "--inputs", tmp_path / "x.npz", within=tmp_path)
    assert problem.code == code
    assert problem.wanted


def test_data_sets_that_cannot_be_used(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "import numpy as np\n"
        "def wrong(): return [(np.zeros((4, 2, 9, 9)), 1), (np.zeros((4, 2, 7, 7)), 1)]\n"
        "def number(): return 7\n"
        "def boom(): raise OSError('the disk [with] the data is gone')\n"
    )
    wrong = refused("run", bundle, "--data", tmp_path / "data.py:wrong", within=tmp_path)
    assert [problem.code for problem in wrong] == ["SL0111", "SL0111"]
    for name in ("number", "boom"):
        [problem] = refused("run", bundle, "--data", tmp_path / f"data.py:{name}", within=tmp_path)
        assert problem.code == "SL0121"
    assert "the disk [with] the data is gone" in problem.what
    [problem] = refused("run", bundle, "--data", tmp_path / "data.py:nope", within=tmp_path)
    assert (problem.code, problem.wanted) == ("SL0201", "boom or number or wrong")


def test_sources_that_contradict_each_other(workshop: Workshop, bundle: Path, tmp_path: Path) -> None:
    both = ("--events", workshop.test, "--inputs", tmp_path / "x.npz")
    for args, got in (((), ""), (both, "--events and --inputs")):
        for command in ("run", "estimate"):
            [problem] = refused(command, bundle, *args, within=tmp_path)
            assert (problem.code, problem.got) == ("SL0901", got)
            assert problem.wanted == "--events, --inputs or --data"
    labels = ("--inputs", tmp_path / "x.npz", "--labels", workshop.labels)
    [problem] = refused("run", bundle, *labels, within=tmp_path)
    assert (problem.code, problem.where) == ("SL0901", "--labels")


def test_names_that_would_steer_a_terminal(workshop: Workshop, bundle: Path, tmp_path: Path) -> None:
    """Names of files may be any bytes: none reaches the terminal as a command, none breaks a table."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    names = [b"\xff.bs2", b"\x1b[31m.bs2", b"[red]:boom:.bs2", b"two\nlines.bs2"]
    for name in names:
        shutil.copy(workshop.test / "0.bs2", folder / os.fsdecode(name))
    outputs = tmp_path / "x.parquet"
    spikeloom("run", bundle, "--events", folder, "--outputs", outputs)
    samples = {row["sample"] for row in pq.read_table(outputs).to_pylist()}
    assert samples == {"\\xff.bs2", "\x1b[31m.bs2", "[red]:boom:.bs2", "two\nlines.bs2"}
    for path in folder.iterdir():
        path.write_bytes(b"")
    answer = spikeloom("run", bundle, "--events", folder, expect=4)
    assert len(answer.err.splitlines()) == len(names)
    assert "\x1b" not in answer.err
    assert "[red]:boom:.bs2: holds no events" in answer.err
