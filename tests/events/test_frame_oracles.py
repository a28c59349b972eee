"""Frames to the last bit as SpikingJelly and tonic make them, on all shared recordings."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.runtime.events.formats import open_events
from spikeloom.runtime.events.framer import Framer, extent_of
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.stream import Events, Geometry
from tests.events.tonic_frames import digest

SENSORS = {
    "evt2.raw": Geometry(640, 480),
    "dvs.es": Geometry(320, 240),
    "tonic_sample.aedat4": Geometry(320, 240),
    "sample_ncars.dat": Geometry(120, 100),
    "sample_nmnist.bin": Geometry(34, 34),
}


@dataclass(frozen=True)
class Recording:
    """Events and the sensor they lie on."""

    name: str
    events: Events
    geometry: Geometry

    def recipe(self, **fields: Any) -> FrameRecipe:
        return FrameRecipe(width=self.geometry.width, height=self.geometry.height, **fields)

    def frames(self, steps: int, **fields: Any) -> NDArray[np.uint8]:
        """Our frames, from chunks of 9973 events."""
        if "frame" not in fields:
            fields["value"] = "count"
        recipe = self.recipe(steps=steps, **fields)
        chunks = [self.events[start : start + 9973] for start in range(0, len(self.events), 9973)]
        framer = Framer(recipe, extent_of(chunks, recipe.field_of_view) if recipe.offline else None)
        frames = [frame for chunk in chunks for frame in framer.push(chunk)] + framer.finish()
        assert fields.get("frame") == "voxel_grid" or not framer.report.saturated
        return np.stack(frames)


@pytest.fixture(scope="module")
def recordings(data: Path) -> list[Recording]:
    files = [*(data / "events" / name for name in SENSORS), *sorted((data / "nmnist_small/test").glob("*"))]
    found = []
    for file in files:
        geometry = SENSORS.get(file.name, Geometry(34, 34))
        found.append(Recording(file.name, np.concatenate(list(open_events(file, geometry))), geometry))
    assert len(found) == 65
    return found


@pytest.fixture(scope="module")
def spikingjelly() -> Iterator[ModuleType]:
    """Its module of frames; its package of data sets wants torchvision, which these functions do not use."""
    pytest.importorskip("spikingjelly")
    import spikingjelly as library

    package = ModuleType("spikingjelly.datasets")
    package.__path__ = [str(Path(library.__path__[0]) / "datasets")]
    vision = ModuleType("torchvision")
    vision.transforms = ModuleType("torchvision.transforms")  # type: ignore[attr-defined]
    held = {name: sys.modules.get(name) for name in ("spikingjelly.datasets", "torchvision")}
    sys.modules.update({"spikingjelly.datasets": package})
    if held["torchvision"] is None:
        sys.modules["torchvision"] = vision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield importlib.import_module("spikingjelly.datasets.utils")
    sys.modules.pop("spikingjelly.datasets.utils", None)
    for name, module in held.items():
        if module is None:
            del sys.modules[name]
        else:
            sys.modules[name] = module


def columns(events: Events) -> dict[str, NDArray[Any]]:
    return {field: np.ascontiguousarray(events[field]) for field in ("t", "x", "y", "p")}


def test_spikingjelly_reads_the_same_events(spikingjelly: ModuleType, data: Path) -> None:
    files = [data / "events/sample_nmnist.bin", *sorted((data / "nmnist_small").glob("*/*.bs2"))]
    assert len(files) == 1061
    for file in files:
        theirs = spikingjelly.load_ATIS_bin(file)
        ours = np.concatenate(list(open_events(file)))
        for field, values in columns(ours).items():
            assert np.array_equal(theirs[field], values), (file.name, field)


@pytest.mark.parametrize("steps", [4, 10])
@pytest.mark.parametrize("split", ["number", "time"])
def test_spikingjelly_fixed_number_of_frames(
    spikingjelly: ModuleType, recordings: list[Recording], split: str, steps: int
) -> None:
    for one in recordings:
        sensor = (one.geometry.height, one.geometry.width)
        theirs = spikingjelly.integrate_events_by_fixed_frames_number(
            columns(one.events), split, steps, *sensor
        )
        assert np.array_equal(one.frames(steps, kind=split, tail="last_frame"), theirs), one.name


@pytest.mark.parametrize("duration_us", [33_333, 60_000])
def test_spikingjelly_fixed_duration(
    spikingjelly: ModuleType, recordings: list[Recording], duration_us: int
) -> None:
    for one in recordings:
        sensor = (one.geometry.height, one.geometry.width)
        theirs = spikingjelly.integrate_events_by_fixed_duration(columns(one.events), duration_us, *sensor)
        steps = math.ceil(int(one.events["t"][-1] - one.events["t"][0]) / duration_us)
        ours = one.frames(steps, duration_us=duration_us, origin="first_event", tail="last_frame")
        assert np.array_equal(ours, theirs), one.name


@dataclass(frozen=True)
class Case:
    """What tonic does, and how many levels its real numbers are rounded to."""

    function: str
    arguments: dict[str, Any]
    levels: int = 0
    view: str = ""


TONIC = [
    Case("to_frame_numpy", {"n_event_bins": 7}),
    Case("to_frame_numpy", {"n_time_bins": 7}),
    Case("to_frame_numpy", {"event_count": 1500}),
    Case("to_frame_numpy", {"event_count": 1500, "include_incomplete": True}),
    Case("to_frame_numpy", {"time_window": 30_000}),
    Case("to_frame_numpy", {"time_window": 30_000, "include_incomplete": True}),
    Case("to_frame_numpy", {"n_event_bins": 5}, view="crop"),
    Case("to_frame_numpy", {"time_window": 30_000}, view="crop"),
    Case("to_frame_numpy", {"time_window": 30_000}, view="fraction"),
    Case("to_frame_numpy", {"n_time_bins": 5}, view="both"),
    Case("to_timesurface_numpy", {"dt": 30_000, "tau": 20_000}, levels=255),
    Case("to_timesurface_numpy", {"dt": 20_000, "tau": 50_000}, levels=31, view="both"),
    Case("to_voxel_grid_numpy", {"n_time_bins": 5}, levels=16),
    Case("to_voxel_grid_numpy", {"n_time_bins": 3}, levels=9, view="both"),
]
FRACTION = 0.7


def view_of(one: Recording, name: str) -> tuple[dict[str, Any], list[Any]]:
    """The fields of our recipe, and tonic's transforms: the middle of the sensor, or seven tenths of it."""
    fields: dict[str, Any] = {}
    transforms: list[Any] = []
    box = (one.geometry.width * 3 // 5, one.geometry.height // 2)
    if name in ("crop", "both"):
        fields["crop"] = box
        sensor = [one.geometry.width, one.geometry.height, 2]
        transforms.append(["CenterCrop", {"sensor_size": sensor, "size": list(box)}])
    if name in ("fraction", "both"):
        fields["downsample"] = FRACTION
        transforms.append(["Downsample", {"spatial_factor": FRACTION}])
    return fields, transforms


def test_tonic(recordings: list[Recording], tmp_path: Path) -> None:
    python = os.environ.get("SPIKELOOM_ORACLES")
    if not python:
        pytest.skip("needs tonic: set SPIKELOOM_ORACLES to a Python that has it")
    jobs, wrong = [], []
    cases = [(one, case) for one in recordings for case in TONIC]
    for number, (one, case) in enumerate(cases):
        path = tmp_path / f"{one.name}.npy"
        wide = np.dtype([(field, np.int64) for field in ("x", "y", "t", "p")])
        np.save(path, np.rec.fromarrays([one.events[field] for field in wide.names or ()], dtype=wide))
        fields, transforms = view_of(one, case.view)
        view = one.recipe(steps=1, kind="number", **fields).field_of_view
        job: dict[str, Any] = {
            "events": str(path),
            "sensor": [view.width, view.height, 2],
            "transforms": transforms,
        }
        job |= {"function": case.function, "arguments": case.arguments}
        if case.levels:
            job["levels"] = case.levels
        if case.function == "to_voxel_grid_numpy":
            job["save"] = str(tmp_path / f"{number}.npy")
        jobs.append(job)
    theirs = asked(python, jobs, tmp_path)
    for number, (one, case) in enumerate(cases):
        ours = as_tonic(one, case)
        if case.function == "to_voxel_grid_numpy":
            same = equal_but_for_ties(ours, np.load(tmp_path / f"{number}.npy"), case.levels)
        else:
            same = digest(ours) == theirs[number]
        if not same:
            wrong.append((one.name, case))
    assert not wrong


def asked(python: str, jobs: list[dict[str, Any]], folder: Path) -> list[str]:
    """What tonic answers, a line a job."""
    (folder / "jobs.json").write_text(json.dumps(jobs))
    script = Path(__file__).with_name("tonic_frames.py")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ran = subprocess.run(
        [python, str(script), str(folder / "jobs.json")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def equal_but_for_ties(ours: NDArray[np.uint8], theirs: NDArray[np.float64], levels: int) -> bool:
    """Whether ours are the rounded sums of theirs, where errors of floats cannot turn the rounding."""
    scaled = theirs * levels + 0.5
    sure = np.abs(scaled - np.rint(scaled)) > 1e-6
    rounded = np.clip(np.floor(scaled) + 128, 0, 255)
    apart = ours - rounded
    return ours.shape == theirs.shape and not apart[sure].any() and bool((np.abs(apart) <= 1).all())


def as_tonic(one: Recording, case: Case) -> NDArray[np.uint8]:
    """The same by our recipes, with as many frames as tonic gives."""
    fields, _ = view_of(one, case.view)
    arguments = case.arguments
    _, events = one.recipe(steps=1, kind="number", **fields).field_of_view.of(one.events)
    duration = int(events["t"][-1] - events["t"][0])
    if case.function == "to_voxel_grid_numpy":
        fields |= {"kind": "time", "frame": "voxel_grid", "levels": case.levels, "polarity": ("on-off",)}
        return one.frames(arguments["n_time_bins"], last_event="after_last_bin", **fields)
    if "n_event_bins" in arguments:
        return one.frames(arguments["n_event_bins"], kind="number", **fields)
    if "n_time_bins" in arguments:
        return one.frames(arguments["n_time_bins"], kind="time", **fields)
    whole = arguments.get("include_incomplete", False)
    incomplete = "emit" if whole else "drop"
    if "event_count" in arguments:
        count = arguments["event_count"]
        steps = max(1, (math.ceil if whole else math.floor)(len(events) / count))
        return one.frames(steps, kind="event_count", events=count, incomplete=incomplete, **fields)
    if case.function == "to_timesurface_numpy":
        fields |= {"frame": "time_surface", "levels": case.levels, "tau_us": arguments["tau"]}
    window = arguments.get("time_window") or arguments["dt"]
    steps = max(1, (math.ceil if whole else math.floor)(duration / window))
    return one.frames(steps, duration_us=window, origin="first_event", incomplete=incomplete, **fields)
