"""tonic's frames, voxel grids and time surfaces: ``python tonic_frames.py JOBS.json``.

Run as a program of its own by a Python that has tonic, which is GPL. A job is the path of an .npy of events,
the sensor [width, height, 2], a function of tonic.functional, and its arguments. For each it prints the shape
of the result and a SHA-256 of its numbers as 64-bit integers or floats.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def digest(result: Any) -> str:
    """The shape and a SHA-256 of an array."""
    kind = np.float64 if result.dtype.kind == "f" else np.int64
    return f"{list(result.shape)} {hashlib.sha256(np.ascontiguousarray(result, kind).tobytes()).hexdigest()}"


def main() -> None:
    """Run the jobs."""
    import tonic.functional as library

    for job in json.loads(Path(sys.argv[1]).read_text()):
        events = np.load(job["events"])
        sensor = tuple(job["sensor"])
        print(digest(getattr(library, job["function"])(events, sensor, **job["arguments"])))


if __name__ == "__main__":
    main()
