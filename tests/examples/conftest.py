"""Makes the examples importable as they are from the repository's root, and records a few digits."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 60 recordings to train on and 60 held out."""
    from examples.digits.make_recordings import make_recordings, split

    folder = tmp_path_factory.mktemp("digits")
    make_recordings(folder, {part: numbers[:60] for part, numbers in split().items()})
    return folder
