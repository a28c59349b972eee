"""What the writers write is read back, and what they cannot write is refused whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.errors import InputError
from spikeloom.runtime.events.aedat2 import write_aedat2
from spikeloom.runtime.events.evt3 import write_evt3
from spikeloom.runtime.events.formats import open_events
from spikeloom.runtime.events.hdf5_dsec import write_hdf5
from spikeloom.runtime.events.npz import holds_events, write_npz
from spikeloom.runtime.events.stream import EVENT, Events, Geometry
from tests.event_files import SENSOR, events

Writer = Callable[[Path, Events, Geometry], None]
WRITERS: list[tuple[Writer, str]] = [
    (write_aedat2, ".aedat"),
    (write_evt3, ".raw"),
    (write_hdf5, ".h5"),
    (write_npz, ".npz"),
]


def back(path: Path) -> Events:
    return np.concatenate([np.zeros(0, EVENT), *open_events(path)])


@pytest.mark.parametrize(("write", "suffix"), WRITERS)
def test_what_is_written_is_read_back(tmp_path: Path, write: Writer, suffix: str) -> None:
    for count in (1, 2, 1000):
        made = events(count, seed=count)
        write(tmp_path / f"a{suffix}", made, SENSOR)
        recording = open_events(tmp_path / f"a{suffix}")
        assert recording.header.geometry == SENSOR
        assert np.array_equal(back(recording.path), made)


@pytest.mark.parametrize(("write", "suffix"), WRITERS)
def test_the_same_events_are_the_same_bytes(tmp_path: Path, write: Writer, suffix: str) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}{suffix}", events(100), SENSOR)
    if suffix != ".h5":  # HDF5 notes the time at which it wrote
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


BAD = [
    ((5, 128, 0, 0), "x=128 in event 1"),
    ((5, 0, 200, 0), "y=200 in event 1"),
    ((5, 0, 0, 2), "p=2 in event 1"),
    ((-1, 0, 0, 0), "t=-1 in event 1"),
    ((1, 0, 0, 0), "got event 1"),
]


@pytest.mark.parametrize(("write", "suffix"), WRITERS)
@pytest.mark.parametrize(("event", "got"), BAD)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, write: Writer, suffix: str, event: tuple[int, ...], got: str
) -> None:
    made = np.array([(3, 0, 0, 0), event], EVENT)
    with pytest.raises(InputError, match=f"SL0107 .*{got}"):
        write(tmp_path / f"a{suffix}", made, SENSOR)
    assert not list(tmp_path.iterdir())


def test_aedat2_knows_three_sensors(tmp_path: Path) -> None:
    for geometry in (Geometry(240, 180), Geometry(346, 260)):
        made = events(300, sensor=geometry)
        write_aedat2(tmp_path / "a.aedat", made, geometry)
        assert np.array_equal(back(tmp_path / "a.aedat"), made)
        assert open_events(tmp_path / "a.aedat").geometry == geometry
    with pytest.raises(InputError, match=r"SL0107 .*knows no such sensor"):
        write_aedat2(tmp_path / "b.aedat", made, Geometry(64, 64))


@given(st.lists(st.integers(0, 55_000_000), min_size=1, max_size=8), st.integers(0, 2**39))
def test_evt3_goes_through_every_wrap_of_its_clock(steps: list[int], start: int) -> None:
    from tempfile import TemporaryDirectory

    made = np.zeros(len(steps), EVENT)
    made["t"] = start % 2**34 + np.cumsum(steps)
    with TemporaryDirectory() as folder:
        write_evt3(Path(folder) / "a.raw", made, SENSOR)
        assert np.array_equal(back(Path(folder) / "a.raw"), made)


def test_an_archive_of_frames_holds_no_events(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", events(3), SENSOR)
    np.savez(tmp_path / "b.npz", x=np.zeros(3), y=np.zeros(3))
    (tmp_path / "c.npz").write_bytes(b"PK")
    assert [holds_events(tmp_path / f"{name}.npz") for name in "abc"] == [True, False, False]


@pytest.mark.parametrize("names", [("t", "x", "y", "p"), ("timestamps", "xs", "ys", "polarity")])
def test_other_names_and_structured_arrays(tmp_path: Path, names: tuple[str, ...]) -> None:
    made = events(40)
    signed = np.where(made["p"] == 1, 1, -1)
    columns = dict(zip(names, (made["t"], made["x"], made["y"], signed), strict=True))
    np.savez(tmp_path / "a.npz", **columns)  # type: ignore[arg-type]
    table = np.zeros(len(made), [(name, np.int64) for name in names])
    for name, column in columns.items():
        table[name] = column
    np.savez(tmp_path / "b.npz", events=table)
    for name in "ab":
        assert np.array_equal(back(tmp_path / f"{name}.npz"), made)
