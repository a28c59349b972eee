"""The layouts of HDF5 files, made here from the data sets' descriptions."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikeloom.errors import InputError
from spikeloom.runtime.events.formats import items_of, open_events
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.recordings import recordings
from spikeloom.runtime.events.stream import EVENT, Events, Geometry
from tests.event_files import events

Make = Callable[[h5py.File, Events], None]


def dsec(file: h5py.File, made: Events) -> None:
    """As published: unsigned times from an offset, no sensor named."""
    file["events/t"] = made["t"].astype(np.uint32)
    for field in ("x", "y", "p"):
        file[f"events/{field}"] = made[field]
    file["ms_to_idx"] = np.zeros(3, np.uint64)


def metavision(file: h5py.File, made: Events) -> None:
    kind = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
    table = np.empty(len(made), kind)
    for field in kind.names or ():
        table[field] = made[field]
    file.create_dataset("CD/events", data=table, chunks=(64,), compression="gzip")
    file.attrs["geometry"] = "128x128"


def mvsec(file: h5py.File, made: Events) -> None:
    """Times in seconds since 1970, polarities ±1."""
    rows = [made["x"], made["y"], made["t"] / 1e6, np.where(made["p"] == 1, 1, -1)]
    file["davis/left/events"] = np.stack(rows, 1).astype(np.float64)


@pytest.mark.parametrize(
    ("make", "sensor"), [(dsec, None), (metavision, Geometry(128, 128)), (mvsec, Geometry(346, 260))]
)
def test_layouts(tmp_path: Path, make: Make, sensor: Geometry | None) -> None:
    made = events(500)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file, made)
    for chunk_events in (7, 100_000):
        recording = open_events(tmp_path / "a.h5", chunk_events=chunk_events)
        assert np.array_equal(np.concatenate(list(recording)), made)
        assert recording.header.geometry == sensor


def test_the_offset_of_dsec_is_added(tmp_path: Path) -> None:
    made = events(50)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dsec(file, made)
        file["t_offset"] = 10**12
    assert next(iter(open_events(tmp_path / "a.h5")))["t"][0] == made["t"][0] + 10**12


def cut_column(file: h5py.File) -> None:
    del file["events/x"]
    file["events/x"] = np.zeros(3, np.uint16)


def no_numbers(file: h5py.File) -> None:
    del file["events/p"]
    file["events/p"] = np.full(50, b"on")


def claims_more(file: h5py.File) -> None:
    for field in ("t", "x", "y", "p"):
        del file[f"events/{field}"]
        file.create_dataset(f"events/{field}", (10**15,), "u1", chunks=(1 << 16,))


def cut_chunks(file: h5py.File, deflated: bool) -> None:
    """Rows in a chunk that holds fewer than 50: HDF5 would make the rest up."""
    del file["events/y"]
    codec = "gzip" if deflated else None
    rows = file.create_dataset("events/y", (50,), "u1", chunks=(50,), compression=codec)
    stored = zlib.compress(bytes(30)) if deflated else bytes(30)
    rows.id.write_direct_chunk((0,), stored)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (
            partial(cut_chunks, deflated=False),
            "events/y is stored in chunks that are cut off .wanted 50 bytes",
        ),
        (partial(cut_chunks, deflated=True), "events/y is stored in chunks that are cut off .*got 30"),
        (cut_column, "columns differ in length"),
        (no_numbers, "column p holds no numbers"),
        (claims_more, "claims more than the file stores"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, damage: Callable[[h5py.File], None], what: str
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dsec(file, events(50))
        damage(file)
    with pytest.raises(InputError, match=f"SL0108 .*{what}"):
        list(open_events(tmp_path / "a.h5", strict=False))


def test_a_codec_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((64,))
        plist.set_filter(36559, h5py.h5z.FLAG_OPTIONAL, ())
        kind = h5py.h5t.py_create(np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")]))
        group = file.create_group("CD")
        h5py.h5d.create(group.id, b"events", kind, h5py.h5s.create_simple((100,)), plist)
    with pytest.raises(InputError, match=r"SL0108 .*compressed by Metavision's ECF, which is not installed"):
        open_events(tmp_path / "a.h5")


def test_another_layout_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["frames"] = np.zeros(3)
    with pytest.raises(InputError, match=r"SL0108 .*wanted DSEC, Metavision, .*got groups frames"):
        open_events(tmp_path / "a.hdf5")


TIMES = [np.array([0.0, 0.5, 1.2]), np.array([0.25])]
UNITS = [np.array([0, 699, 7]), np.array([3])]


def shd(file: h5py.File) -> None:
    for name, kind, lists in (("times", np.float32, TIMES), ("units", np.uint16, UNITS)):
        column = file.create_dataset(f"spikes/{name}", (2,), h5py.vlen_dtype(kind))
        for index, values in enumerate(lists):
            column[index] = values.astype(kind)
    file["labels"] = np.array([11, 4], np.uint8)


def tidigits(file: h5py.File) -> None:
    for name, times, units in zip(("man-ae-o", "man-ae-39"), TIMES, UNITS, strict=True):
        file[f"train_timestamps/{name}"] = times
        file[f"train_addresses/{name}"] = units % 64


def test_the_heidelberg_sets(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "shd.h5", "w") as file:
        shd(file)
    assert [item.label for item in items_of(tmp_path / "shd.h5")] == [11, 4]
    first = np.concatenate(list(open_events(tmp_path / "shd.h5", item=0)))
    assert first.tolist() == [(0, 0, 0, 1), (500_000, 699, 0, 1), (1_200_000, 7, 0, 1)]
    recipe = FrameRecipe(width=700, height=1, steps=4, duration_us=500_000)
    samples = recordings(tmp_path, recipe)
    assert [(sample.name, sample.label) for sample in samples] == [("shd.h5[0]", 11), ("shd.h5[1]", 4)]
    assert samples[0].frames[:, 1, 0].sum(1).tolist() == [1, 1, 1, 0]
    with pytest.raises(InputError, match=r"SL0108 .*holds 2 recordings"):
        list(open_events(tmp_path / "shd.h5"))
    with pytest.raises(InputError, match=r"SL0108 .*there is no recording 2"):
        list(open_events(tmp_path / "shd.h5", item=2))


def test_labels_of_a_table_do_not_fit_a_set(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "shd.h5", "w") as file:
        shd(file)
    (tmp_path / "l.tsv").write_text("file\tlabel\nshd.h5\t3\n")
    recipe = FrameRecipe(width=700, height=1, steps=4, duration_us=500_000)
    with pytest.raises(InputError, match=r"SL0120 .*one label for 2 recordings"):
        recordings(tmp_path / "shd.h5", recipe, tmp_path / "l.tsv")


def test_n_tidigits(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "n.hdf5", "w") as file:
        tidigits(file)
    found = [(item.name, item.label) for item in items_of(tmp_path / "n.hdf5")]
    assert found == [("train/man-ae-39", None), ("train/man-ae-o", 10)]
    second = np.concatenate(list(open_events(tmp_path / "n.hdf5", item=1)))
    assert second["x"].tolist() == [0, 699 % 64, 7]


def test_no_events_at_all(tmp_path: Path) -> None:
    from spikeloom.runtime.events.hdf5_dsec import write_hdf5

    write_hdf5(tmp_path / "a.h5", np.zeros(0, EVENT), Geometry(3, 3))
    with pytest.raises(InputError, match="SL0102"):
        list(open_events(tmp_path / "a.h5"))
    empty: list[Any] = list(open_events(tmp_path / "a.h5", strict=False))
    assert empty == []
