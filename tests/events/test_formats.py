from __future__ import annotations

import os
import tracemalloc
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from spikeloom.errors import InputError
from spikeloom.runtime.events import formats
from spikeloom.runtime.events.formats import open_events
from spikeloom.runtime.events.nmnist import write_nmnist
from spikeloom.runtime.events.stream import EVENT, DropReport, Geometry

SENSOR = Geometry(34, 34)


def codes(error: InputError) -> list[str]:
    return [problem.code for problem in error.problems]


def test_the_registry_agrees_with_the_readers() -> None:
    claimed: dict[str, list[str]] = {}
    for module in sorted({name for names in formats._READERS.values() for name in names}):
        for suffix in import_module(f"spikeloom.runtime.events.{module}").FORMAT.suffixes:
            claimed.setdefault(suffix, []).append(module)
    assert claimed == {suffix: list(names) for suffix, names in formats._READERS.items()}


@pytest.mark.parametrize(("name", "got"), [("a.txt", "got .txt"), ("a", "got no suffix")])
def test_an_unknown_format_is_named(tmp_path: Path, name: str, got: str) -> None:
    (tmp_path / name).write_bytes(b"12345")
    with pytest.raises(InputError, match=rf"SL0106 .*\.bin, \.bs2, .*{got}"):
        open_events(tmp_path / name, SENSOR)


def test_a_missing_file_is_named_before_its_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"SL0101 .*none\.txt: No such file"):
        open_events(tmp_path / "none.txt", SENSOR)


@pytest.mark.parametrize("name", ["x" * 300 + ".bin", "nul\0byte.bin"])
def test_a_name_that_no_file_can_have_is_missing(name: str) -> None:
    with pytest.raises(InputError, match="SL0101"):
        open_events(name, SENSOR)


def test_a_folder_or_a_pipe_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.bin").mkdir()
    os.mkfifo(tmp_path / "pipe.bin")
    for name in ("folder.bin", "pipe.bin"):
        with pytest.raises(InputError, match=r"SL0101 .*not a regular file"):
            open_events(tmp_path / name, SENSOR)


def test_a_file_that_vanishes_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(5))
    recording = open_events(path, SENSOR)
    path.unlink()
    with pytest.raises(InputError, match="SL0101"):
        list(recording)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", ["SL0102"]),
        (b"123", ["SL0103"]),
        (bytes(5) + b"1", ["SL0103"]),
        (bytes([34, 0, 0, 0, 0]), ["SL0104"]),
        (bytes([0, 0, 0, 0, 9]) + bytes(5), ["SL0105"]),
        (bytes([0, 0, 0, 0, 9]) + bytes(5) + bytes([0, 200, 0, 0, 9]) + b"1", ["SL0103", "SL0104", "SL0105"]),
    ],
)
def test_strict_refuses_and_lenient_drops(tmp_path: Path, content: bytes, wanted: list[str]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        list(open_events(path, SENSOR))
    assert codes(raised.value) == wanted
    recording = open_events(path, SENSOR, strict=False)
    kept = sum(len(events) for events in recording)
    report = recording.report
    assert kept == len(content) // 5 - report.outside - report.backwards
    assert report == DropReport(
        outside=int("SL0104" in wanted),
        backwards=int("SL0105" in wanted),
        left_over_bytes=len(content) % 5,
    )


def test_a_recording_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes([0, 99, 0, 0, 0]) * 3)
    recording = open_events(path, SENSOR, strict=False, chunk_events=1)
    for _ in range(2):
        assert list(recording) == []
        assert recording.report.outside == 3


def test_chunks_are_of_the_size_that_was_asked_for(tmp_path: Path) -> None:
    write_nmnist(tmp_path / "a.bin", np.zeros(25, EVENT))
    assert [len(c) for c in open_events(tmp_path / "a.bin", SENSOR, chunk_events=10)] == [10, 10, 5]
    with pytest.raises(ValueError, match="at least one"):
        open_events(tmp_path / "a.bin", SENSOR, chunk_events=0)


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    peaks = []
    for count in (20_000, 2_000_000):
        path = tmp_path / f"{count}.bin"
        path.write_bytes(bytes([1, 2, 0, 0, 7]) * count)
        tracemalloc.start()
        assert sum(len(events) for events in open_events(path, SENSOR, chunk_events=4096)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_real_recordings_pass_the_strict_check(data: Path) -> None:
    for file in sorted((data / "nmnist_small/test").glob("*.bs2")):
        recording = open_events(file, SENSOR)
        assert sum(len(events) for events in recording) == file.stat().st_size // 5
        assert not recording.report
