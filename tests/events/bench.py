"""Decoding speed beside evutils': ``python -m tests.events.bench PYTHON_WITH_EVUTILS EVT2_FILE [ROUNDS]``.

The two take turns in processes of their own, on an EVT 2.0 file and on the same events as EVT 3.0. Ours
checks each event against the sensor and the order of time on the way. Printed are millions of events a second
of processor time: the median of the rounds after the first, which compiles and warms up.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from spikeloom.runtime.events.evt3 import write_evt3
from spikeloom.runtime.events.formats import open_events
from spikeloom.runtime.events.stream import Geometry

_LOOP = """
import sys, time
{setup}
for _ in range(12):
    start = time.process_time()
    count = {read}
    print(count / (time.process_time() - start) / 1e6)
"""
OURS = _LOOP.format(
    setup="from spikeloom.runtime.events.formats import open_events",
    read="sum(map(len, open_events(sys.argv[1])))",
)
THEIRS = _LOOP.format(
    setup="from evutils.io import EventReader",
    read="len(EventReader(sys.argv[1], mode='all').read())",
)


def speed(python: str, loop: str, path: Path, ours: bool) -> float:
    """Millions of events a second, the median of what the loop prints after its first round."""
    environment = dict(os.environ, NUMBA_NUM_THREADS="1", OMP_NUM_THREADS="1")
    if not ours:
        environment.pop("PYTHONPATH", None)
    command = [python, "-c", loop, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return median(float(line) for line in ran.stdout.split()[1:])


def main() -> None:
    """Run the command."""
    other, evt2 = sys.argv[1], Path(sys.argv[2])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    with TemporaryDirectory() as folder:
        made = np.concatenate(list(open_events(evt2)))
        evt3 = Path(folder) / "a.raw"
        write_evt3(evt3, made, Geometry(640, 480))
        for name, path in (("EVT 2.0", evt2), ("EVT 3.0", evt3)):
            pairs = [
                (speed(sys.executable, OURS, path, True), speed(other, THEIRS, path, False))
                for _ in range(rounds)
            ]
            ours, theirs = (median(pair[side] for pair in pairs) for side in (0, 1))
            ratio = median(a / b for a, b in pairs)
            print(f"{name}: ours {ours:.1f}, evutils {theirs:.1f} million events/s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
