"""tonic's frames, voxel grids and time surfaces: ``python tonic_frames.py JOBS.json``.

Run as a program of its own by a Python that has tonic, which is GPL. A job is the path of an .npy of events,
transforms that come before, the sensor [width, height, 2] after them, a function of tonic.functional, and its
arguments. For each it prints the shape of the result and a SHA-256 of its numbers as 64-bit integers; real
numbers are multiplied with `levels` and rounded first, or written as they are to the path `save`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def digest(result: Any) -> str:
    """The shape and a SHA-256 of an array of whole numbers."""
    numbers = np.ascontiguousarray(result, np.int64).tobytes()
    return f"{list(result.shape)} {hashlib.sha256(numbers).hexdigest()}"


def main() -> None:
    """Run the jobs."""
    import tonic.functional as library
    import tonic.transforms as transforms

    for job in json.loads(Path(sys.argv[1]).read_text()):
        events = np.load(job["events"])
        for name, arguments in job["transforms"]:
            given = {key: tuple(v) if isinstance(v, list) else v for key, v in arguments.items()}
            events = getattr(transforms, name)(**given)(events)
        result = getattr(library, job["function"])(events, tuple(job["sensor"]), **job["arguments"])
        if "save" in job:
            np.save(job["save"], result)
        if "levels" in job:
            result = np.floor(result * job["levels"] + 0.5)
        print(digest(result))


if __name__ == "__main__":
    main()
