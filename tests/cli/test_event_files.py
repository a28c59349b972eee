"""Event files of other formats than N-MNIST's: described, and run through a compiled network."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from spikeloom.compiler.bundle import read_bundle
from spikeloom.errors import InputError
from spikeloom.runtime.events.formats import open_events
from spikeloom.runtime.events.stream import Geometry
from spikeloom.runtime.session import Session
from tests.cli.conftest import Workshop
from tests.cli.terminal import refused, spikeloom
from tests.event_files import FILES, events


@pytest.mark.parametrize("name", sorted(FILES))
def test_inspect_describes_it(tmp_path: Path, name: str) -> None:
    suffix, make = FILES[name]
    made = events(300)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(make(made))
    document = spikeloom("inspect", str(path), "--json").json
    assert (document["events"], document["on"]) == (300, int(made["p"].sum()))
    assert (document["first_us"], document["last_us"]) == (made["t"][0], made["t"][-1])
    assert document["columns"] == [made["x"].min(), made["x"].max()]
    assert document["rows"] == [made["y"].min(), made["y"].max()]
    assert not any(document["dropped"].values())
    text = spikeloom("inspect", str(path)).out
    assert "300 events" in text
    assert "dropped" not in text


def test_inspect_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(FILES["evt2"][1](events(300))[:-1])
    assert "dropped: 3 bytes of no whole event" in spikeloom("inspect", str(path)).out
    path.write_bytes(b"% evt 9.0\n")
    [problem] = refused("inspect", path, within=tmp_path)
    assert (problem.code, problem.got) == ("SL0108", repr(b"% evt 9.0\n"))


def test_inspect_of_a_set_of_recordings(tmp_path: Path) -> None:
    path = spoken(tmp_path)
    document = spikeloom("inspect", str(path), "--json").json
    assert (document["recordings"], document["labels"]) == (3, {"0": 1, "4": 2})
    assert document["sensor"] == {"width": 700, "height": 1}
    assert "3 recordings, 2 classes" in spikeloom("inspect", str(path)).out


def spoken(folder: Path) -> Path:
    path = folder / "shd.h5"
    with h5py.File(path, "w") as file:
        kinds = {"times": np.float32, "units": np.uint16}
        for name, kind in kinds.items():
            file.create_dataset(f"spikes/{name}", (3,), h5py.vlen_dtype(kind))
        for index in range(3):
            file["spikes/times"][index] = np.arange(5 + index, dtype=np.float32) / 10
            file["spikes/units"][index] = np.arange(5 + index)
        file["labels"] = np.array([4, 0, 4])
    return path


@pytest.mark.parametrize("name", ["csv", "es", "evt2", "evt3", "aedat4", "hdf5", "npz", "raw_gz"])
def test_run_gives_the_same_from_any_format(
    workshop: Workshop, bundle: Path, tmp_path: Path, name: str
) -> None:
    original = workshop.test / "0.bs2"
    made = np.concatenate(list(open_events(original, Geometry(8, 8))))
    suffix, make = FILES[name]
    path = tmp_path / f"0{suffix}"
    path.write_bytes(make(made))
    command = ["run", bundle, "--no-strict", "--json", "--events"]
    assert spikeloom(*command, path).json == spikeloom(*command, original).json


def test_run_refuses_another_sensor(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "0.raw"
    path.write_bytes(FILES["evt3"][1](events(300)))
    [problem] = refused("run", bundle, "--events", path, within=tmp_path)
    assert (problem.code, problem.got) == ("SL0104", "128×128 pixels in its header")


@pytest.mark.parametrize("own", ['kind = "number"\ntail = "last_frame"', 'kind = "event_count"\nevents = 60'])
def test_recipes_without_a_duration_go_all_the_way(workshop: Workshop, tmp_path: Path, own: str) -> None:
    recipe, compiled = tmp_path / "recipe.toml", tmp_path / "a.loom"
    recipe.write_text(f"width = 8\nheight = 8\nsteps = 4\n{own}\n")
    spikeloom("compile", workshop.model, "--weights", workshop.weights, "--recipe", recipe,
              "--calibrate", workshop.train, "-o", compiled)  # fmt: skip
    ran = spikeloom("run", compiled, "--events", workshop.test, "--json").json
    assert ran["spikes_total"] > 0
    assert ran["dropped_events"]["tail"] == (0 if "number" in own else 7 * (250 - 4 * 60))
    estimated = spikeloom("estimate", compiled, "--events", workshop.test, "--json").json
    assert list(estimated["modes"]) == ["back_to_back"]
    spikeloom("report", compiled, "--events", workshop.test, "-o", tmp_path / "r.html")
    recording = open_events(workshop.test / "0.bs2", Geometry(8, 8))
    session = Session(read_bundle(compiled))
    if "number" in own:
        with pytest.raises(InputError, match=r'SL0110 .*kind "number" cannot be streamed'):
            list(session.stream(recording))
    else:
        assert len(list(session.stream(recording))) == 4
