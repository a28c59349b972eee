"""Damaged recordings: one kind of error or a report of what was dropped, and never an invented event."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from spikeloom.errors import InputError
from spikeloom.runtime.events.formats import open_events
from spikeloom.runtime.events.framer import frames_of
from spikeloom.runtime.events.nmnist import write_nmnist
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.stream import EVENT, DropReport
from tests.event_files import FILES, MUTATIONS
from tests.events.fuzz import GROWTH_KIB, fuzz, growth_kib

MUTANTS = 1000
RECIPE = FrameRecipe(width=34, height=34, steps=5, duration_us=60_000, value="count")


def recording(rng: Random, count: int) -> bytearray:
    """A sound recording of ``count`` events."""
    times = sorted(rng.randrange(330_000) for _ in range(count))
    content = bytearray()
    for t in times:
        word = t | rng.randrange(2) << 23
        content += bytes([rng.randrange(34), rng.randrange(34)]) + word.to_bytes(3, "big")
    return content


def mutant(number: int) -> bytes:
    rng = Random(number)
    content = recording(rng, rng.randint(1, 150))
    for _ in range(rng.randint(1, 3)):
        if content:
            rng.choice(MUTATIONS)(rng, content)
    return bytes(content)


@pytest.mark.parametrize("name", sorted(FILES))
def test_mutants_of_every_format(tmp_path: Path, name: str) -> None:
    fuzz(name, 50, tmp_path)  # what compiles and is imported is in memory then
    before = growth_kib()
    outcomes = fuzz(name, MUTANTS, tmp_path)
    assert outcomes.total() == MUTANTS
    assert outcomes["refused"] + outcomes["repaired"] > MUTANTS // 2
    assert growth_kib() - before < GROWTH_KIB


def test_mutated_recordings(tmp_path: Path) -> None:
    refused = 0
    for number in range(MUTANTS):
        path = tmp_path / "mutant.bs2"
        path.write_bytes(mutant(number))
        refused += check_mutant(path, chunk_events=1 + number % 64)
    assert MUTANTS // 2 < refused < MUTANTS  # both ways out were taken


def check_mutant(path: Path, chunk_events: int) -> bool:
    """Whether strict reading refused the recording; all that is promised of damaged files is asserted."""
    size = path.stat().st_size
    lenient = open_events(path, RECIPE.geometry, strict=False, chunk_events=chunk_events)
    events = np.concatenate([np.zeros(0, EVENT), *lenient])
    report = lenient.report
    assert RECIPE.geometry.contains(events).all()
    assert (np.diff(events["t"]) >= 0).all()
    assert len(events) + report.outside + report.backwards == size // 5
    assert report.left_over_bytes == size % 5
    frames, dropped = frames_of(path, RECIPE, strict=False, chunk_events=chunk_events)
    assert frames.shape == RECIPE.sequence_shape
    assert frames.sum() == len(events) - dropped.late - dropped.tail - dropped.saturated
    strict = open_events(path, RECIPE.geometry, chunk_events=chunk_events)
    if report.damaged or size < 5:
        with pytest.raises(InputError) as raised:
            list(strict)
        assert {problem.code for problem in raised.value.problems} == faults(report, size)
        return True
    assert np.array_equal(np.concatenate(list(strict)), events)
    return False


def faults(report: DropReport, size: int) -> set[str]:
    found = {"SL0102": size == 0, "SL0103": size % 5, "SL0104": report.outside, "SL0105": report.backwards}
    return {code for code, count in found.items() if count}


def test_a_sound_recording_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.bs2").write_bytes(recording(Random(0), 150))
    assert not check_mutant(tmp_path / "a.bs2", chunk_events=64)


@pytest.mark.parametrize("value", [0x00, 0xFF])
def test_constant_bytes(tmp_path: Path, value: int) -> None:
    (tmp_path / "a.bs2").write_bytes(bytes([value]) * 1000)
    assert check_mutant(tmp_path / "a.bs2", chunk_events=64) == (value == 0xFF)


def test_the_mutants_start_from_what_the_writer_writes(tmp_path: Path) -> None:
    content = recording(Random(1), 20)
    (tmp_path / "a.bs2").write_bytes(content)
    [events] = open_events(tmp_path / "a.bs2", RECIPE.geometry)
    write_nmnist(tmp_path / "b.bs2", events)
    assert (tmp_path / "b.bs2").read_bytes() == content
