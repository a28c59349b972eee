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
from spikeloom.runtime.events.time_surface import TimeSurface
from spikeloom.runtime.events.voxel_grid import voxel_grid
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

    def frames(self, steps: int, **fields: Any) -> NDArray[np.uint8]:
        """Our frames, from chunks of 9973 events."""
        recipe = FrameRecipe(
            width=self.geometry.width, height=self.geometry.height, steps=steps, value="count", **fields
        )
        chunks = [self.events[start : start + 9973] for start in range(0, len(self.events), 9973)]
        framer = Framer(recipe, extent_of(chunks) if recipe.offline else None)
        frames = [frame for chunk in chunks for frame in framer.push(chunk)] + framer.finish()
        assert not framer.report.saturated
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


TONIC: list[tuple[str, dict[str, Any]]] = [
    ("to_frame_numpy", {"n_event_bins": 7}),
    ("to_frame_numpy", {"n_time_bins": 7}),
    ("to_frame_numpy", {"event_count": 1500}),
    ("to_frame_numpy", {"event_count": 1500, "include_incomplete": True}),
    ("to_frame_numpy", {"time_window": 30_000}),
    ("to_frame_numpy", {"time_window": 30_000, "include_incomplete": True}),
    ("to_voxel_grid_numpy", {"n_time_bins": 5}),
    ("to_timesurface_numpy", {"dt": 30_000, "tau": 20_000}),
]


def test_tonic(recordings: list[Recording], tmp_path: Path) -> None:
    python = os.environ.get("SPIKELOOM_ORACLES")
    if not python:
        pytest.skip("needs tonic: set SPIKELOOM_ORACLES to a Python that has it")
    jobs, ours = [], []
    for one in recordings:
        path = tmp_path / f"{one.name}.npy"
        wide = np.dtype([(field, np.int64) for field in ("x", "y", "t", "p")])
        np.save(path, np.rec.fromarrays([one.events[field] for field in wide.names or ()], dtype=wide))
        sensor = [one.geometry.width, one.geometry.height, 2]
        for function, arguments in TONIC:
            jobs.append({"events": str(path), "sensor": sensor, "function": function, "arguments": arguments})
            ours.append(digest(as_tonic(one, function, arguments)))
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    script = Path(__file__).with_name("tonic_frames.py")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ran = subprocess.run(
        [python, str(script), str(tmp_path / "jobs.json")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr
    theirs = ran.stdout.splitlines()
    wrong = [
        (job["events"], job["arguments"]) for job, a, b in zip(jobs, ours, theirs, strict=True) if a != b
    ]
    assert not wrong


def as_tonic(one: Recording, function: str, arguments: dict[str, Any]) -> NDArray[Any]:
    """The same by our recipes, with as many frames as tonic gives."""
    events = one.events
    duration = int(events["t"][-1] - events["t"][0])
    chunks = [events[start : start + 9973] for start in range(0, len(events), 9973)]
    if function == "to_voxel_grid_numpy":
        return voxel_grid(chunks, one.geometry, arguments["n_time_bins"])
    if function == "to_timesurface_numpy":
        surface = TimeSurface(one.geometry, arguments["dt"], arguments["tau"])
        return np.stack([frame for chunk in chunks for frame in surface.push(chunk)] + surface.finish())
    if "n_event_bins" in arguments:
        return one.frames(arguments["n_event_bins"], kind="number")
    if "n_time_bins" in arguments:
        return one.frames(arguments["n_time_bins"], kind="time")
    whole = arguments.get("include_incomplete", False)
    incomplete = "emit" if whole else "drop"
    if "event_count" in arguments:
        count = arguments["event_count"]
        steps = max(1, (math.ceil if whole else math.floor)(len(events) / count))
        return one.frames(steps, kind="event_count", events=count, incomplete=incomplete)
    window = arguments["time_window"]
    steps = max(1, (math.ceil if whole else math.floor)(duration / window))
    return one.frames(steps, duration_us=window, origin="first_event", incomplete=incomplete)
