from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeloom.errors import InputError
from spikeloom.runtime.events.formats import open_events
from spikeloom.runtime.events.framer import Framer, frames_of
from spikeloom.runtime.events.nmnist import write_nmnist
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.stream import EVENT, DropReport, Events

NMNIST = FrameRecipe(width=34, height=34, steps=5, duration_us=60_000)
CUTS = st.lists(st.integers(0, 7000), max_size=12)


def recipe(**changes: Any) -> FrameRecipe:
    return FrameRecipe(**{"width": 3, "height": 2, "steps": 4, "duration_us": 10, **changes})


RECIPES = st.builds(
    recipe,
    steps=st.integers(1, 5),
    duration_us=st.integers(1, 12),
    origin=st.sampled_from(["absolute", "first_event"]),
    value=st.sampled_from(["binary", "count", "clip(2)"]),
    polarity=st.sampled_from([("off", "on"), ("on", "off")]),
)
RECORDS = st.lists(
    st.tuples(st.integers(-20, 60), st.integers(0, 2), st.integers(0, 1), st.integers(0, 1)), max_size=40
)


def framed(events: Events, recipe: FrameRecipe, cuts: list[int]) -> tuple[NDArray[np.uint8], DropReport]:
    framer = Framer(recipe)
    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    frames = [frame for a, b in pairwise(edges) for frame in framer.push(events[a:b])]
    return np.stack(frames + framer.finish()), framer.report


def one_by_one(events: Events, recipe: FrameRecipe) -> tuple[NDArray[np.int64], DropReport]:
    """The recipe's rule, an event at a time, with the whole recording at hand."""
    counts = np.zeros(recipe.sequence_shape, np.int64)
    origin = 0 if recipe.origin == "absolute" or not len(events) else events["t"][0].item()
    step = late = tail = 0
    for t, x, y, p in events.tolist():
        window = (t - origin) // recipe.duration_us
        if window >= recipe.steps:
            tail += 1
        elif window < step:
            late += 1
        else:
            counts[window, recipe.polarity.index("on" if p else "off"), y, x] += 1
        step = max(step, window)
    lost = int(np.maximum(counts - 255, 0).sum()) if recipe.value == "count" else 0
    return np.minimum(counts, recipe.max_value), DropReport(late=late, tail=tail, saturated=lost)


@given(RECORDS, RECIPES, CUTS, st.booleans())
def test_any_chunking_gives_the_frames_of_the_rule(
    records: list[tuple[int, ...]], recipe: FrameRecipe, cuts: list[int], in_order: bool
) -> None:
    events = np.array(sorted(records) if in_order else records, EVENT)
    frames, report = framed(events, recipe, [cut % (len(events) + 1) for cut in cuts])
    wanted, dropped = one_by_one(events, recipe)
    assert frames.dtype == np.uint8
    assert np.array_equal(frames, wanted)
    assert report == dropped


@given(st.data())
def test_any_chunking_of_real_recordings_gives_the_same_frames(data: Path, draw: st.DataObject) -> None:
    files = sorted((data / "nmnist_small/test").glob("*.bs2"))
    [events] = open_events(draw.draw(st.sampled_from(files)), NMNIST.geometry)
    value = draw.draw(st.sampled_from(["binary", "count", "clip(2)"]))
    origin = draw.draw(st.sampled_from(["absolute", "first_event"]))
    real = FrameRecipe(width=34, height=34, steps=5, duration_us=60_000, value=value, origin=origin)
    whole, report = framed(events, real, [])
    cut, cut_report = framed(events, real, draw.draw(CUTS))
    assert np.array_equal(whole, cut)
    assert report == cut_report


def test_frames_of_real_recordings_are_those_of_plain_numpy(data: Path) -> None:
    densities = []
    for file in sorted((data / "nmnist_small/test").glob("*.bs2")):
        raw = np.fromfile(file, np.uint8).reshape(-1, 5).astype(np.int64)
        t = (raw[:, 2] % 128) * 65536 + raw[:, 3] * 256 + raw[:, 4]
        step = t // 60_000
        used = step < 5
        counts = np.zeros((5, 2, 34, 34), np.int64)
        np.add.at(counts, (step[used], raw[used, 2] // 128, raw[used, 1], raw[used, 0]), 1)
        frames, report = frames_of(file, NMNIST, chunk_events=1000)
        assert np.array_equal(frames, counts > 0)
        assert report == DropReport(tail=int((~used).sum()))
        densities.append(frames.mean())
    assert len(densities) == 60
    assert np.mean(densities) == pytest.approx(0.120969, abs=5e-7)  # SOURCES.md


def test_an_event_on_a_boundary_belongs_to_the_later_frame() -> None:
    frames, report = framed(np.array([(9, 0, 0, 0), (10, 1, 0, 0), (40, 2, 0, 0)], EVENT), recipe(), [])
    assert np.argwhere(frames).tolist() == [[0, 0, 0, 0], [1, 0, 0, 1]]
    assert report == DropReport(tail=1)


def test_the_first_event_may_be_the_origin() -> None:
    events = np.array([(1003, 0, 0, 1), (1012, 1, 1, 1), (1013, 2, 1, 1), (1043, 0, 0, 1)], EVENT)
    frames, report = framed(events, recipe(origin="first_event"), [1])
    assert np.argwhere(frames).tolist() == [[0, 1, 0, 0], [0, 1, 1, 1], [1, 1, 1, 2]]
    assert report == DropReport(tail=1)


def test_frames_come_as_soon_as_a_later_event_shows_them_finished() -> None:
    framer = Framer(recipe())
    assert framer.push(np.array([(9, 0, 0, 0)], EVENT)) == []
    assert [frame.sum() for frame in framer.push(np.array([(31, 0, 0, 0)], EVENT))] == [1, 0, 0]
    assert framer.push(np.array([(5, 0, 0, 0)], EVENT)) == []
    assert [frame.sum() for frame in framer.push(np.array([(99, 0, 0, 0)], EVENT))] == [1]
    assert framer.finish() == []
    assert framer.report == DropReport(late=1, tail=1)


def test_a_late_event_does_not_bring_back_a_finished_frame() -> None:
    events = np.array([(9, 0, 0, 0), (31, 0, 0, 0), (12, 0, 0, 0), (13, 1, 0, 0), (32, 1, 0, 0)], EVENT)
    for cuts in ([], [3], [1, 2, 3, 4]):
        frames, report = framed(events, recipe(), cuts)
        assert frames.sum(axis=(1, 2, 3)).tolist() == [1, 0, 0, 2]
        assert report == DropReport(late=2)


def test_events_after_the_last_frame_finish_all_frames() -> None:
    events = np.array([(9, 0, 0, 0), (45, 0, 0, 0), (12, 0, 0, 0), (13, 1, 0, 0)], EVENT)
    for cuts in ([], [3], [1, 2, 3]):
        frames, report = framed(events, recipe(), cuts)
        assert frames.sum() == 1
        assert report == DropReport(late=2, tail=1)


def test_counts_saturate_and_what_is_lost_is_counted() -> None:
    events = np.zeros(300, EVENT)
    for value, largest, lost in [("count", 255, 45), ("clip(7)", 7, 0), ("binary", 1, 0)]:
        frames, report = framed(events, recipe(value=value), [100, 299])
        assert frames.max() == frames.sum() == largest
        assert report == DropReport(saturated=lost)


def test_polarity_order() -> None:
    events = np.array([(0, 0, 0, 1)], EVENT)
    assert framed(events, recipe(), [])[0][0, :, 0, 0].tolist() == [0, 1]
    assert framed(events, recipe(polarity=("on", "off")), [])[0][0, :, 0, 0].tolist() == [1, 0]


@pytest.mark.parametrize("bad", [(0, 3, 0, 0), (0, 0, 2, 0), (0, 0, 0, 2)])
def test_events_outside_the_sensor_never_enter_a_frame(bad: tuple[int, ...]) -> None:
    framer = Framer(recipe())
    with pytest.raises(ValueError, match="outside the sensor"):
        framer.push(np.array([bad], EVENT))
    assert not any(frame.any() for frame in framer.finish())


def test_given_frames_do_not_change_later() -> None:
    framer = Framer(recipe())
    framer.push(np.array([(0, 0, 0, 0)], EVENT))
    [first] = framer.push(np.array([(10, 1, 1, 1)], EVENT))
    before = first.copy()
    framer.push(np.array([(11, 2, 1, 1)], EVENT))
    assert np.array_equal(first, before)


def test_frames_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_nmnist(path, np.array([(5, 0, 0, 0), (15, 2, 1, 1), (3, 0, 0, 0), (16, 9, 0, 0)], EVENT))
    with pytest.raises(InputError) as raised:
        frames_of(path, recipe())
    assert [problem.code for problem in raised.value.problems] == ["SL0104", "SL0105"]
    frames, report = frames_of(path, recipe(), strict=False)
    assert np.argwhere(frames).tolist() == [[0, 0, 0, 0], [1, 1, 1, 2]]
    assert report == DropReport(outside=1, backwards=1)


def test_an_empty_file_gives_empty_frames_unless_strict(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"")
    frames, report = frames_of(tmp_path / "a.bin", recipe(origin="first_event"), strict=False)
    assert frames.shape == (4, 2, 2, 3)
    assert not frames.any()
    assert not report
