from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.errors import InputError
from spikeloom.runtime.events.check import Check, leniently, strictly
from spikeloom.runtime.events.stream import EVENT, Chunk, Events, Geometry

SENSOR = Geometry(3, 2)
RECORD = st.tuples(st.integers(0, 30), st.integers(0, 3), st.integers(0, 2), st.integers(0, 2))


def chunks(events: Events, cuts: list[int]) -> list[Chunk]:
    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    return [Chunk(events[a:b], offset=5 * a) for a, b in pairwise(edges)]


def one_by_one(events: Events) -> tuple[list[tuple[int, ...]], int, int]:
    """The rule of Check, an event at a time."""
    kept: list[tuple[int, ...]] = []
    outside = backwards = 0
    for t, x, y, p in events.tolist():
        if not (x < SENSOR.width and y < SENSOR.height and p < SENSOR.polarities):
            outside += 1
        elif kept and t < kept[-1][0]:
            backwards += 1
        else:
            kept.append((t, x, y, p))
    return kept, outside, backwards


@given(st.lists(RECORD, max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_keeps_what_the_rule_keeps_in_any_chunking(records: list[tuple[int, ...]], cuts: list[int]) -> None:
    events = np.array(records, EVENT)
    check = Check(SENSOR, 5)
    kept = [event for part in leniently(chunks(events, cuts), check) for event in part.tolist()]
    wanted, outside, backwards = one_by_one(events)
    assert (kept, check.report.outside, check.report.backwards) == (wanted, outside, backwards)
    assert check.seen == len(events)


@given(st.lists(RECORD, min_size=1, max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_the_same_first_faults_are_named_in_any_chunking(
    records: list[tuple[int, ...]], cuts: list[int]
) -> None:
    events = np.array(records, EVENT)
    whole, cut = Check(SENSOR, 5), Check(SENSOR, 5)
    list(leniently(chunks(events, []), whole))
    list(leniently(chunks(events, cuts), cut))
    assert whole.problems("f") == cut.problems("f")


def test_strict_gives_nothing_after_the_first_fault_and_names_all_faults() -> None:
    events = np.array([(1, 0, 0, 0), (2, 0, 0, 0), (1, 0, 0, 0), (3, 9, 0, 0), (4, 0, 0, 0)], EVENT)
    pieces = [Chunk(events[i : i + 1], 5 * i) for i in range(4)] + [Chunk(events[4:], 20, left_over_bytes=3)]
    stream = strictly(pieces, Check(SENSOR, 5), "f.bin")
    assert [next(stream)["t"].item(), next(stream)["t"].item()] == [1, 2]
    with pytest.raises(InputError) as raised:
        next(stream)
    assert [str(problem) for problem in raised.value.problems] == [
        "SL0103 f.bin: is truncated: 3 bytes are left over after 5 events (wanted records of 5 bytes); "
        "copy the file again, or pass --no-strict to use what is whole",
        "SL0104 f.bin: 1 of 5 events outside the sensor (wanted 3×2 pixels, 2 polarities, "
        "got event 3 at byte 15: x=9 y=0 p=0 t=3 us); "
        "name the right sensor in the recipe, or pass --no-strict to drop them",
        "SL0105 f.bin: 1 of 5 events backwards in time (wanted times that never fall, "
        "got event 2 at byte 10: x=0 y=0 p=0 t=1 us after t=2 us); "
        "sort the recording by time, or pass --no-strict to drop them",
    ]


def test_strict_gives_events_before_a_fault_that_has_not_come_yet() -> None:
    good = Chunk(np.array([(1, 0, 0, 0)], EVENT))
    stream = strictly([good, Chunk(np.array([(0, 0, 0, 0)], EVENT))], Check(SENSOR), "live")
    assert next(stream).tolist() == [(1, 0, 0, 0)]
    with pytest.raises(InputError, match="event 1: x=0"):
        next(stream)


def test_an_event_outside_the_sensor_does_not_move_time() -> None:
    events = np.array([(5, 0, 0, 0), (900, 9, 9, 0), (6, 0, 0, 0)], EVENT)
    check = Check(SENSOR)
    assert check.keep(Chunk(events))["t"].tolist() == [5, 6]
    assert check.report.backwards == 0


def test_a_stream_without_events_is_empty() -> None:
    with pytest.raises(InputError, match="SL0102 f: holds no events"):
        list(strictly([], Check(SENSOR), "f"))
    assert list(leniently([], Check(SENSOR))) == []


def test_chunks_are_given_on_without_a_copy_where_all_is_well() -> None:
    events = np.array([(1, 0, 0, 0), (1, 1, 1, 1)], EVENT)
    assert Check(SENSOR).keep(Chunk(events)) is events
