"""Mutated event files: ``python -m tests.events.fuzz [--mutants N] [--seed S] [FORMAT ...]``.

Of each damaged file it must hold: a reader raises InputError and nothing else, or gives events that lie on
the sensor, in order of time, no more than the file can hold, and the same in any chunking, with a report of
what it dropped; strict reading gives the same or refuses; neither takes long nor makes the process grow.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import numpy as np

from spikeloom.errors import InputError
from spikeloom.runtime.events.check import MAX_GAP_US
from spikeloom.runtime.events.formats import open_events
from spikeloom.runtime.events.stream import EVENT, DropReport, Events
from tests.event_files import FILES, events, mutated

ALLOWED = {"SL0102", "SL0103", "SL0104", "SL0105", "SL0108", "SL0109"}
SECONDS, WALL_SECONDS = 10, 120  # of the processor, and by the clock of a busy machine
GROWTH_KIB = 200 * 1024
DENSEST = {
    "evt21": 32 / 8,
    "evt3": 12 / 2,
    "raw_gz": 12 / 2 * 1032,
    "raw_zst": 12 / 2 * 50_000,
    "aedat4": 255 / 16,
    "npz": 1032,
    "hdf5": 1032,
}
ORIGINALS = 16


def fuzz(name: str, mutants: int, folder: Path, seed: int = 0) -> Counter[str]:
    """Try so many mutants of a format; how many were refused, repaired, or still sound."""
    suffix, make = FILES[name]
    originals = [make(events(20 + 9 * number, seed=number)) for number in range(ORIGINALS)]
    path = folder / f"mutant{suffix}"
    outcomes: Counter[str] = Counter()
    path.write_bytes(originals[0])
    read(path, 7, strict=True)  # compiles what is compiled when it is first used
    signal.signal(signal.SIGALRM, _hangs)
    signal.signal(signal.SIGPROF, _hangs)
    for number in range(seed, seed + mutants):
        content = mutated(originals[number % ORIGINALS], number)
        path.write_bytes(content)
        signal.alarm(WALL_SECONDS)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            outcomes[check(path, 1 + number % 64, DENSEST.get(name, 1.0))] += 1
        except Exception as error:
            raise AssertionError(f"{name}, mutant {number}: {type(error).__name__}: {error}") from error
        finally:
            signal.alarm(0)
            signal.setitimer(signal.ITIMER_PROF, 0)
    return outcomes


def check(path: Path, chunk_events: int, densest: float) -> str:
    """What became of a mutant: refused, repaired or sound."""
    lenient = read(path, chunk_events, strict=False)
    assert same(lenient, read(path, 100_000, strict=False)), "the chunking matters"
    strict = read(path, chunk_events, strict=True)
    if isinstance(lenient, set):
        assert isinstance(strict, set), "strict reading takes what lenient reading refuses"
        return "refused"
    kept, report = lenient
    assert len(kept) <= densest * path.stat().st_size, "there are more events than the file can hold"
    steps = np.diff(kept["t"])
    assert ((steps >= 0) & (steps <= MAX_GAP_US)).all(), "times run backwards or jump"
    if report.damaged or not len(kept):
        assert isinstance(strict, set), "strict reading takes damage"
        return "repaired"
    assert same(lenient, strict), "strict reading changes a sound file"
    return "sound"


Outcome = set[str] | tuple[Events, DropReport]


def read(path: Path, chunk_events: int, strict: bool) -> Outcome:
    """The events and the report, or the codes of the refusal."""
    try:
        recording = open_events(path, None, strict, chunk_events)
        kept = np.concatenate([np.zeros(0, EVENT), *recording])
    except InputError as error:
        codes = {problem.code for problem in error.problems}
        assert codes <= ALLOWED, codes
        return codes
    assert recording.geometry.contains(kept).all(), "an event lies outside the sensor"
    return kept, recording.report


def same(one: Outcome, other: Outcome) -> bool:
    """Whether two readings agree."""
    if isinstance(one, set) or isinstance(other, set):
        return one == other
    return np.array_equal(one[0], other[0]) and one[1] == other[1]


class HungError(Exception):
    """A file that takes so long; no error that a reader may take for one of the file."""


def _hangs(number: int, frame: FrameType | None) -> None:
    raise HungError(f"took more than {SECONDS} s")


def growth_kib() -> int:
    """The largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("formats", nargs="*", default=sorted(FILES))
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        for name in options.formats:
            fuzz(name, min(100, options.mutants), Path(folder), options.seed)
            before = growth_kib()
            outcomes = fuzz(name, options.mutants, Path(folder), options.seed)
            grown = growth_kib() - before
            print(f"{name}: {dict(sorted(outcomes.items()))}, memory +{grown / 1024:.0f} MiB", flush=True)
            if grown > GROWTH_KIB:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
