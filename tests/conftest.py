"""What every test shares: the recordings, and runs that repeat exactly."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

os.environ["MPLBACKEND"] = "Agg"  # plots go to files, never to a screen
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what reads recordings, so that `-m data` selects it."""
    for item in items:
        if "data" in getattr(item, "fixturenames", ()):
            item.add_marker("data")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of recordings and checkpoints named by SPIKELOOM_DATA; skips where that is unset."""
    name = os.environ.get("SPIKELOOM_DATA")
    if not name:
        pytest.skip("needs recordings: set SPIKELOOM_DATA to a folder that holds nmnist_small/")
    folder = Path(name).resolve()
    if not folder.is_dir():
        pytest.fail(f"SPIKELOOM_DATA names {name}, which is not a folder")
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    np.random.seed(0)
