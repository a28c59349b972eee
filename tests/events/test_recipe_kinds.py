"""Every kind of recipe: in any chunking the frames of the rule, computed from the whole recording."""

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
from spikeloom.runtime.events.framer import Framer, extent_of, frames_of
from spikeloom.runtime.events.nmnist import write_nmnist
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.stream import EVENT, DropReport, Events

RECORDS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 2), st.integers(0, 1), st.integers(0, 1)), max_size=40
)
CUTS = st.lists(st.integers(0, 40), max_size=6)


@st.composite
def recipes(draw: st.DrawFn) -> FrameRecipe:
    kind = draw(st.sampled_from(["fixed_duration", "event_count", "number", "time"]))
    fields: dict[str, Any] = {
        "kind": kind,
        "steps": draw(st.integers(1, 5)),
        "tail": draw(st.sampled_from(["drop", "last_frame"])),
        "incomplete": draw(st.sampled_from(["emit", "drop"])),
        "value": "count",
    }
    if kind == "fixed_duration":
        fields |= {"duration_us": draw(st.integers(1, 12))}
        fields |= {"origin": draw(st.sampled_from(["absolute", "first_event"]))}
    if kind == "event_count":
        fields |= {"events": draw(st.integers(1, 9))}
    return FrameRecipe(width=3, height=2, **fields)


def by_rule(events: Events, recipe: FrameRecipe) -> tuple[NDArray[np.int64], DropReport]:
    """The frames from the whole recording, an event at a time."""
    total, steps = len(events), recipe.steps
    first, last = (int(events["t"][0]), int(events["t"][-1])) if total else (0, 0)
    origin = 0 if recipe.kind == "fixed_duration" and recipe.origin == "absolute" else first
    duration = recipe.duration_us or (last - first) // steps
    size = recipe.events or total // steps
    places = []
    for index, event in enumerate(events.tolist()):
        by_order = recipe.kind in ("event_count", "number")
        value, unit = (index, size) if by_order else (event[0] - origin, duration)
        place = value // unit if unit else steps
        places.append(min(place, steps - 1) if recipe.tail == "last_frame" else place)
    begun = max(places, default=0)
    whole = recipe.kind == "event_count" and places.count(begun) == size
    gone = {begun} if recipe.incomplete == "drop" and 0 < begun < steps and not whole else set()
    counts = np.zeros(recipe.sequence_shape, np.int64)
    tail = 0
    for place, (_, x, y, p) in zip(places, events.tolist(), strict=True):
        if place >= steps or place in gone:
            tail += 1
        else:
            counts[place, p, y, x] += 1
    return counts, DropReport(tail=tail)


@given(RECORDS, recipes(), CUTS)
def test_any_chunking_gives_the_frames_of_the_rule(
    records: list[tuple[int, ...]], recipe: FrameRecipe, cuts: list[int]
) -> None:
    events = np.array(sorted(records), EVENT)
    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    chunks = [events[a:b] for a, b in pairwise(edges) if b > a]
    framer = Framer(recipe, extent_of(chunks, recipe.field_of_view) if recipe.offline else None)
    frames = np.stack([frame for chunk in chunks for frame in framer.push(chunk)] + framer.finish())
    wanted, dropped = by_rule(events, recipe)
    assert np.array_equal(frames, wanted)
    assert framer.report == dropped


@pytest.mark.parametrize("kind", ["number", "time"])
def test_kinds_that_need_the_end_are_framed_from_files_and_not_streamed(tmp_path: Path, kind: str) -> None:
    events = np.array([(t, t % 3, 0, 1) for t in (0, 1, 2, 50, 60, 100)], EVENT)
    write_nmnist(tmp_path / "a.bs2", events)
    recipe = FrameRecipe(width=3, height=1, steps=2, kind=kind, tail="last_frame")
    frames, report = frames_of(tmp_path / "a.bs2", recipe, chunk_events=2)
    assert not report
    assert [int(frame.sum()) for frame in frames] == [3, 3]
    with pytest.raises(InputError, match=r"SL0110 recipe: .*cannot be streamed"):
        Framer(recipe)
