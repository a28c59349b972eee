"""What every reader promises, whatever its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikeloom.errors import InputError
from spikeloom.runtime.events.formats import open_events
from spikeloom.runtime.events.stream import EVENT, Events
from tests.event_files import FILES, SENSOR, events

NAMES = sorted(FILES)
SIZED = {"aedat2_davis"}  # its sensor is wider than the one of the others


def written(folder: Path, name: str, made: Events) -> Path:
    suffix, make = FILES[name]
    path = folder / f"a{suffix}"
    path.write_bytes(make(made))
    return path


def read(path: Path, chunk_events: int = 1000, strict: bool = True) -> Events:
    return np.concatenate([np.zeros(0, EVENT), *open_events(path, None, strict, chunk_events)])


@pytest.mark.parametrize("name", NAMES)
def test_events_come_back_in_any_chunking(tmp_path: Path, name: str) -> None:
    made = events(700)
    path = written(tmp_path, name, made)
    for chunk_events in (1, 7, 64, 100_000):
        recording = open_events(path, None, chunk_events=chunk_events)
        parts = list(recording)
        assert max(map(len, parts)) <= chunk_events
        assert np.array_equal(np.concatenate(parts), made)
        assert not recording.report


@pytest.mark.parametrize("name", NAMES)
def test_the_header_names_the_sensor_where_it_can(tmp_path: Path, name: str) -> None:
    recording = open_events(written(tmp_path, name, events(10)))
    if name in ("nmnist", "csv"):
        assert recording.header.geometry is None
    elif name in SIZED:
        assert str(recording.geometry).startswith("346×260")
    else:
        assert recording.geometry == SENSOR


@pytest.mark.parametrize("name", sorted({*NAMES} - {"nmnist", "csv"}))
def test_another_sensor_than_the_recipes_is_refused(tmp_path: Path, name: str) -> None:
    from spikeloom.runtime.events.stream import Geometry

    path = written(tmp_path, name, events(50))
    with pytest.raises(InputError, match=r"SL0104 .*another sensor"):
        open_events(path, Geometry(64, 64))
    recording = open_events(path, Geometry(64, 64), strict=False)
    kept = np.concatenate([np.zeros(0, EVENT), *recording])
    assert (kept["x"] < 64).all()
    assert (kept["y"] < 64).all()
    assert len(kept) + recording.report.outside == 50


@pytest.mark.parametrize("name", sorted({*NAMES} - {"hdf5", "npz", "raw_zst"}))
def test_a_prefix_gives_the_events_in_it_and_says_what_is_left(tmp_path: Path, name: str) -> None:
    made = events(200, seed=1)
    path = written(tmp_path, name, made)
    whole = path.read_bytes()
    refused = 0
    for cut in (len(whole) - 1, len(whole) * 3 // 4, len(whole) // 2 + 1):
        path.write_bytes(whole[:cut])
        recording = open_events(path, SENSOR if name not in SIZED else None, strict=False)
        kept = np.concatenate([np.zeros(0, EVENT), *recording])
        assert len(kept) <= 200
        expected = made[: len(kept)]
        if name == "csv" and len(kept) and kept[-1] != expected[-1]:
            kept, expected = kept[:-1], expected[:-1]  # a number cut short is still a number
        assert np.array_equal(kept, expected)
        refused += recording.report.damaged
    assert refused >= (0 if name == "csv" else 1)


@pytest.mark.parametrize("name", sorted({*NAMES} - {"nmnist", "csv", "raw_gz", "raw_zst"}))
def test_a_cut_inside_the_header_is_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, events(200))
    path.write_bytes(path.read_bytes()[:12])
    with pytest.raises(InputError, match="SL0108"):
        read(path, strict=False)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"a{FILES[name][0]}"
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"SL010[268]"):
        read(path)


@pytest.mark.parametrize("name", ["aedat2", "dat"])
def test_clocks_of_32_bits_wrap(tmp_path: Path, name: str) -> None:
    made = events(300, span_us=20_000_000)
    made["t"] += 2**32 - 10_000_000
    assert np.array_equal(read(written(tmp_path, name, made), 17), made)


@pytest.mark.parametrize(("name", "bits"), [("evt2", 34), ("evt21", 34), ("evt3", 24)])
def test_clocks_of_prophesee_wrap(tmp_path: Path, name: str, bits: int) -> None:
    made = events(3000, span_us=8_000_000)
    made["t"] += 2**bits - 4_000_000
    assert np.array_equal(read(written(tmp_path, name, made), 17), made)


def test_aedat3_counts_its_overflows(tmp_path: Path) -> None:
    made = events(300, span_us=20_000_000)
    made["t"] += 2**31 - 10_000_000
    assert np.array_equal(read(written(tmp_path, "aedat3", made)), made)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("name", ["evt2", "nmnist", "aedat4", "csv"])
def test_compressed_files_are_read_as_they_are(tmp_path: Path, name: str, suffix: str) -> None:
    import gzip

    import pyarrow

    made = events(500)
    plain = written(tmp_path, name, made)
    path = plain.with_name(plain.name + suffix)
    if suffix == ".gz":
        path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        with pyarrow.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(plain.read_bytes())
    assert np.array_equal(read(path), made)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="SL0103"):
        read(path)


@pytest.mark.parametrize("name", ["hdf5", "npz"])
def test_files_that_must_be_searched_are_not_compressed_as_a_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"a{FILES[name][0]}.gz"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match=r"SL0106 .*compressed as a whole.*decompress it"):
        open_events(path)


def test_a_long_silence_is_a_fault(tmp_path: Path) -> None:
    made = np.array([(0, 1, 1, 0), (9, 1, 1, 0), (70_000_000, 1, 1, 0), (12, 2, 2, 1)], EVENT)
    path = written(tmp_path, "es", made[:3])
    with pytest.raises(InputError, match=r"SL0109 .*1 of 3 events .*t=70000000 us after t=9 us"):
        read(path)
    path = written(tmp_path, "csv", made)
    recording = open_events(path, SENSOR, strict=False)
    assert [event for part in recording for event in part["t"].tolist()] == [0, 9, 12]
    assert recording.report.counts() == {"jumps": 1}


COUNTS = {  # SOURCES.md
    "evt2.raw": (521_252, 95_871),
    "dvs.es": (473_225, 999_000),
    "tonic_sample.aedat4": (111_954, 589_917),
    "sample_ncars.dat": (2_009, 99_952),
    "sample_nmnist.bin": (4_325, 310_521),
}


@pytest.mark.parametrize("name", COUNTS)
def test_shared_recordings(data: Path, name: str) -> None:
    recording = open_events(data / "events" / name)
    made = np.concatenate(list(recording))
    assert (len(made), int(made["t"][-1] - made["t"][0])) == COUNTS[name]
    assert not recording.report
