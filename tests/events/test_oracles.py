"""Event for event the same as other libraries, where SPIKELOOM_ORACLES names a Python that has them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from spikeloom.runtime.events.evt3 import write_evt3
from spikeloom.runtime.events.formats import open_events
from tests.event_files import FILES, SENSOR, events
from tests.events.oracles import digest

SCRIPT = Path(__file__).with_name("oracles.py")
FLIPPED = {("faery", "dvs.es"), ("faery", "es"), ("eventcv", "aedat2_davis")}  # their row 0 is the highest

SHARED = {
    "evt2.raw": ["evutils", "evlib", "eventcv", "faery"],
    "dvs.es": ["event_stream", "faery"],
    "tonic_sample.aedat4": ["evlib", "eventcv", "faery", "dv_processing", "aedat"],
    "sample_ncars.dat": ["evutils", "eventcv", "expelliarmus"],
    "sample_nmnist.bin": ["tonic"],
}
MADE = {
    "evt2": ["evutils", "evlib", "eventcv", "faery"],
    "evt21": ["evlib"],
    "evt3": ["evlib", "eventcv"],
    "dat": ["evutils", "eventcv"],
    "es": ["event_stream", "faery"],
    "aedat2_davis": ["evutils", "eventcv"],
    "aedat3": ["evutils"],
    "aedat4": ["evlib", "eventcv", "faery"],
    "hdf5": ["evutils"],
    "npz": ["evutils", "eventcv"],
}


@pytest.fixture(scope="session")
def python() -> str:
    name = os.environ.get("SPIKELOOM_ORACLES")
    if not name:
        pytest.skip("needs other libraries: set SPIKELOOM_ORACLES to a Python that has evutils and the like")
    return name


def theirs(python: str, library: str, path: Path, flip: bool) -> list[str]:
    """The number of events and their digest, by another library in a process of its own."""
    geometry = open_events(path).geometry
    command = [python, str(SCRIPT), library, str(path), str(geometry.width), str(geometry.height)]
    command += ["--flip-y"] if flip else []
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()[-1].split()[:2]


def ours(path: Path) -> list[str]:
    made = np.concatenate(list(open_events(path)))
    return [str(len(made)), digest((made["t"], made["x"], made["y"], made["p"]))]


@pytest.mark.parametrize(("name", "library"), [(n, one) for n, many in SHARED.items() for one in many])
def test_shared_recordings(python: str, data: Path, name: str, library: str) -> None:
    path = data / "events" / name
    assert ours(path) == theirs(python, library, path, (library, name) in FLIPPED)


@pytest.mark.parametrize(("name", "library"), [(n, one) for n, many in MADE.items() for one in many])
def test_made_recordings(python: str, tmp_path: Path, name: str, library: str) -> None:
    suffix, make = FILES[name]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(make(events(5000)))
    assert ours(path) == theirs(python, library, path, (library, name) in FLIPPED)


@pytest.mark.parametrize("library", ["evutils", "evlib", "eventcv", "faery"])
def test_what_we_write_in_evt3(python: str, tmp_path: Path, library: str) -> None:
    path = tmp_path / "a.raw"
    write_evt3(path, events(5000), SENSOR)
    assert ours(path) == theirs(python, library, path, flip=False)
