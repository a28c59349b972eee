"""Time surfaces, voxel grids, clouds, crops and downsampling: in any chunking what their equations say."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeloom.errors import InputError
from spikeloom.runtime.events.framer import Framer, FramerState, extent_of
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.stream import EVENT, DropReport, Events

WIDTH, HEIGHT = 5, 4
RECORDS = st.lists(
    st.tuples(st.integers(-20, 60), st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(0, 1)),
    max_size=40,
)
CUTS = st.lists(st.integers(0, 40), max_size=6)
FACTORS = st.integers(1, 4) | st.floats(0.2, 0.95)
Rows = list[tuple[int, int, int, int]]


@st.composite
def views(draw: st.DrawFn) -> dict[str, Any]:
    fields: dict[str, Any] = {"downsample": draw(FACTORS | st.tuples(FACTORS, FACTORS))}
    if draw(st.booleans()):
        width, height = draw(st.integers(1, WIDTH)), draw(st.integers(1, HEIGHT))
        x, y = draw(st.integers(0, WIDTH - width)), draw(st.integers(0, HEIGHT - height))
        fields["crop"] = draw(st.sampled_from([(width, height), (x, y, width, height)]))
    return fields


@st.composite
def recipes(draw: st.DrawFn, kinds: tuple[str, ...] = ("fixed_duration", "time")) -> FrameRecipe:
    kind = draw(st.sampled_from(kinds))
    frame = draw(st.sampled_from(["counts", "time_surface", "voxel_grid", "points"]))
    fields: dict[str, Any] = {"kind": kind, "frame": frame, "steps": draw(st.integers(1, 5))}
    if kind == "fixed_duration":
        fields |= {"duration_us": draw(st.integers(1, 12))}
        fields |= {"origin": draw(st.sampled_from(["absolute", "first_event"]))}
    if frame == "counts":
        fields |= {"value": draw(st.sampled_from(["binary", "count", "clip(2)"]))}
    if frame == "voxel_grid":
        fields |= {"last_event": draw(st.sampled_from(["last_bin", "after_last_bin"]))}
        fields |= {"polarity": draw(st.sampled_from([("off", "on"), ("on", "off"), ("on-off",)]))}
    if frame in ("time_surface", "voxel_grid"):
        fields |= {"levels": draw(st.integers(1, 255))}
    if frame == "time_surface":
        fields |= {"tau_us": draw(st.integers(1, 40))}
    if frame == "points":
        fields |= {"points": draw(st.integers(1, 4)), "seed": draw(st.integers(0, 3))}
    return FrameRecipe(width=WIDTH, height=HEIGHT, **fields, **draw(views()))


def pieces(events: Events, cuts: list[int]) -> list[Events]:
    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    return [events[a:b] for a, b in pairwise(edges)]


def framed(chunks: list[Events], recipe: FrameRecipe) -> tuple[NDArray[np.uint8], DropReport]:
    framer = Framer(recipe, extent_of(chunks, recipe.field_of_view) if recipe.offline else None)
    frames = [frame for chunk in chunks for frame in framer.push(chunk)] + framer.finish()
    return np.stack(frames), framer.report


# --- the same from the definitions, an event at a time, in exact arithmetic -------------------------------


def axis(recipe: FrameRecipe, index: int, place: int) -> int | None:
    """Where a column (index 0) or row of the sensor lies in a frame; None outside the crop."""
    side = (recipe.width, recipe.height)[index]
    crop = recipe.crop or (0, 0, recipe.width, recipe.height)
    length = crop[-2:][index]
    first = crop[index] if len(crop) == 4 else (side - length) // 2
    if not first <= place < first + length:
        return None
    both = recipe.downsample if isinstance(recipe.downsample, tuple) else (recipe.downsample,) * 2
    factor = both[index]
    return (place - first) // factor if isinstance(factor, int) else int((place - first) * factor)


def size(recipe: FrameRecipe) -> tuple[int, int]:
    columns, rows = (
        max(place for at in range(side) if (place := axis(recipe, index, at)) is not None) + 1
        for index, side in enumerate((recipe.width, recipe.height))
    )
    return rows, columns


def in_view(events: Events, recipe: FrameRecipe) -> Rows:
    seen = ((t, axis(recipe, 0, x), axis(recipe, 1, y), p) for t, x, y, p in events.tolist())
    return [(t, x, y, p) for t, x, y, p in seen if x is not None and y is not None]


def scale_of(rows: Rows, recipe: FrameRecipe) -> tuple[int, Fraction | None]:
    """The time of frame 0, and frames a microsecond; None where the recording has no length."""
    times = [t for t, *_ in rows] or [0]
    if recipe.kind == "fixed_duration":
        return (0 if recipe.origin == "absolute" else times[0]), Fraction(1, recipe.duration_us or 0)
    length = times[-1] - times[0]
    if recipe.frame != "voxel_grid":
        duration = length // recipe.steps
        return times[0], Fraction(1, duration) if duration else None
    bins = recipe.steps - 1 if recipe.last_event == "last_bin" else recipe.steps
    return times[0], Fraction(bins, length) if length else None


Timed = list[tuple[int, int, Fraction, tuple[int, int, int, int]]]


def timed(events: Events, recipe: FrameRecipe) -> tuple[Timed, DropReport]:
    """Each event with its place in the recording, its frame and its time on the scale of the frames."""
    rows = in_view(events, recipe)
    origin, scale = scale_of(rows, recipe)
    found: Timed = []
    reached = late = tail = 0
    for place, row in enumerate(rows):
        at = Fraction(recipe.steps) if scale is None else (row[0] - origin) * scale
        step = floor(at)
        if step >= recipe.steps:
            tail += 1
        elif step < reached:
            late += 1
        else:
            found.append((place, step, at, row))
        reached = max(reached, min(step, recipe.steps))
    return found, DropReport(cropped=len(events) - len(rows), late=late, tail=tail)


def channel(recipe: FrameRecipe, p: int) -> int:
    return 0 if len(recipe.polarity) == 1 else recipe.polarity.index("on" if p else "off")


def counts(found: Timed, recipe: FrameRecipe) -> NDArray[np.int64]:
    frames = np.zeros((recipe.steps, 2, *size(recipe)), np.int64)
    for _, step, _, (_, x, y, p) in found:
        frames[step, channel(recipe, p), y, x] += 1
    return np.minimum(frames, recipe.max_value)


def voxels(found: Timed, recipe: FrameRecipe) -> NDArray[np.int64]:
    """Zhu et al., eq. 2, for each pixel and frame."""
    frames = np.full((recipe.steps, len(recipe.polarity), *size(recipe)), Fraction(0))
    for _, _, at, (_, x, y, p) in found:
        sign = -1 if len(recipe.polarity) == 1 and p == 0 else 1
        for step in range(recipe.steps):
            frames[step, channel(recipe, p), y, x] += sign * max(Fraction(0), 1 - abs(step - at))
    rounded = [floor((recipe.levels or 0) * value + Fraction(1, 2)) for value in frames.ravel()]
    levels = np.array(rounded, np.int64).reshape(frames.shape)
    return (levels + recipe.zero).clip(0, 255)


def surfaces(found: Timed, recipe: FrameRecipe, duration: int) -> NDArray[np.int64]:
    frames = np.zeros((recipe.steps, 2, *size(recipe)), np.int64)
    for step in range(recipe.steps):
        latest: dict[tuple[int, int, int], Fraction] = {}
        for _, own, at, (_, x, y, p) in found:
            if own <= step:
                key = (channel(recipe, p), y, x)
                latest[key] = max(at, latest.get(key, at))
        for key, at in latest.items():
            age = int((step + 1 - at) * duration)
            value = (recipe.levels or 0) * (-Decimal(age) / (recipe.tau_us or 1)).exp()
            frames[step, *key] = floor(value + Decimal("0.5"))
    return frames


def clouds(found: Timed, recipe: FrameRecipe, duration: int) -> NDArray[np.int64]:
    height, width = size(recipe)
    number = recipe.points or 0
    frames = np.zeros((recipe.steps, 4, number), np.int64)
    for step in range(recipe.steps):
        own = [(place, at, row) for place, index, at, row in found if index == step]
        drawn = sorted(sorted(own, key=lambda one: split_mix(recipe.seed, one[0]))[:number])
        for index in range(number if drawn else 0):
            _, at, (_, x, y, p) = drawn[index % len(drawn)]
            offset = int((at - step) * duration)
            spans = (width - 1, height - 1, duration - 1, 1)
            for row, (value, span) in enumerate(zip((x, y, offset, p), spans, strict=True)):
                frames[step, row, index] = floor(Fraction(255 * value, max(span, 1)) + Fraction(1, 2))
    return frames


def split_mix(seed: int, place: int) -> int:
    """SplitMix64, as its authors print it."""
    mask = 2**64 - 1
    z = ((place + 1) * 0x9E3779B97F4A7C15 + seed) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def by_definition(events: Events, recipe: FrameRecipe) -> tuple[NDArray[np.int64], DropReport]:
    found, dropped = timed(events, recipe)
    if recipe.frame == "counts":
        return counts(found, recipe), dropped
    if recipe.frame == "voxel_grid":
        return voxels(found, recipe), dropped
    _, scale = scale_of(in_view(events, recipe), recipe)
    duration = 0 if scale is None else scale.denominator
    return (surfaces if recipe.frame == "time_surface" else clouds)(found, recipe, duration), dropped


@given(RECORDS, recipes(), CUTS, st.booleans())
def test_any_chunking_gives_what_the_equations_say(
    records: Rows, recipe: FrameRecipe, cuts: list[int], in_order: bool
) -> None:
    in_order = in_order or recipe.kind == "time"  # a recording's length is that of one in order
    events = np.array(sorted(records) if in_order else records, EVENT)
    frames, report = framed(pieces(events, cuts), recipe)
    wanted, dropped = by_definition(events, recipe)
    assert frames.dtype == np.uint8
    assert frames.shape == recipe.sequence_shape
    assert np.array_equal(frames, wanted)
    if recipe.frame == "counts":
        dropped += DropReport(saturated=report.saturated)
    assert report == dropped or report.saturated
    assert frames.max(initial=0) <= recipe.max_value


@given(RECORDS, recipes(("fixed_duration",)), CUTS, st.integers(0, 5), st.booleans())
def test_a_stream_goes_on_from_any_of_its_frames(
    records: Rows, recipe: FrameRecipe, cuts: list[int], stop: int, endless: bool
) -> None:
    events = np.array(sorted(records), EVENT)
    whole = Framer(recipe, endless=endless)
    wanted = whole.push(events) + whole.finish()
    first, states, given = Framer(recipe, endless=endless), list[FramerState](), []
    for chunk in pieces(events, cuts):
        for frame in first.feed(chunk):
            given.append(frame)
            states.append(first.state())
    if not states:
        return
    place = min(stop, len(states) - 1)
    second = Framer(recipe, endless=endless)
    second.restore(states[place])
    rest = second.push(events[states[place].consumed :]) + second.finish()
    assert np.array_equal(np.array([*given[: place + 1], *rest]), np.array(wanted))
    assert second.report == whole.report


# --- known answers -----------------------------------------------------------------------------------------


def one_pixel(times: list[int], **fields: Any) -> list[int]:
    """The bytes of a pixel whose events are all on."""
    recipe = FrameRecipe(width=1, height=1, **fields)
    events = np.array([(t, 0, 0, 1) for t in times], EVENT)
    frames, _ = framed([events], recipe)
    return [int(value) for value in frames.reshape(len(frames), -1)[:, -1]]


def test_zhus_voxel_grid_by_hand() -> None:
    """Times 0, 4 and 10 on three bins: 0 at bin 0, 4 at 0.8, 10 at bin 2."""
    grid = {"kind": "time", "frame": "voxel_grid", "levels": 10, "polarity": ("on-off",)}
    assert [v - 128 for v in one_pixel([0, 4, 10], steps=3, **grid)] == [12, 8, 10]
    theirs = one_pixel([0, 4, 10], steps=3, last_event="after_last_bin", **grid)  # tonic: at 0, 1.2 and 3
    assert [v - 128 for v in theirs] == [10, 8, 2]


def test_a_voxel_grid_saturates_and_says_so() -> None:
    recipe = FrameRecipe(
        width=1, height=1, steps=2, duration_us=10, frame="voxel_grid", levels=100, polarity=("on-off",)
    )
    frames, report = framed([np.array([(0, 0, 0, 0)] * 4, EVENT)], recipe)
    assert frames.ravel().tolist() == [0, 128]
    assert report == DropReport(saturated=3)  # 272 levels, of 100 for an event


def test_a_time_surface_fades() -> None:
    surface = {"frame": "time_surface", "levels": 255, "tau_us": 20}
    assert one_pixel([3, 9], steps=4, duration_us=10, **surface) == [
        round(255 * np.exp(-age / 20)) for age in (1, 11, 21, 31)
    ]


def test_crops_and_factors_by_hand() -> None:
    """Columns 1 to 4 of six, by 0.75: 0, 0.75, 1.5, 2.25."""
    recipe = FrameRecipe(
        width=6, height=1, steps=1, duration_us=9, crop=(4, 1), downsample=(0.75, 1), value="count"
    )
    frames, report = framed([np.array([(0, x, 0, 1) for x in range(6)], EVENT)], recipe)
    assert frames[0, 1, 0].tolist() == [2, 1, 1]
    assert report == DropReport(cropped=2)


def test_the_crop_comes_before_all_else() -> None:
    """The first event in view begins the first frame; others do not even count."""
    recipe = FrameRecipe(
        width=4, height=1, steps=2, events=1, kind="event_count", crop=(2, 0, 2, 1), value="count"
    )
    frames, report = framed(
        [np.array([(0, 0, 0, 1), (1, 3, 0, 1), (2, 1, 0, 1), (3, 2, 0, 1)], EVENT)], recipe
    )
    assert frames[:, 1, 0].tolist() == [[0, 1], [1, 0]]
    assert report == DropReport(cropped=2)


def test_an_incomplete_surface_is_given_up() -> None:
    surface = {"frame": "time_surface", "levels": 100, "tau_us": 10, "duration_us": 10, "steps": 3}
    assert one_pixel([0, 10, 12], incomplete="emit", **surface) == [37, 45, 17]
    assert one_pixel([0, 10, 12], incomplete="drop", **surface) == [37, 0, 0]


# --- recipes ---------------------------------------------------------------------------------------------

BASE: dict[str, Any] = {"width": 8, "height": 6, "steps": 2, "duration_us": 10}


@pytest.mark.parametrize(
    ("fields", "shape", "scale", "zero", "highest"),
    [
        ({"crop": (4, 4), "downsample": 2}, (2, 2, 2), 1.0, 0, 1),
        ({"downsample": (3, 0.5)}, (2, 3, 3), 1.0, 0, 1),
        ({"frame": "time_surface", "levels": 15, "tau_us": 9}, (2, 6, 8), 1 / 15, 0, 15),
        ({"frame": "voxel_grid", "levels": 16}, (2, 6, 8), 1 / 16, 0, 255),
        ({"frame": "voxel_grid", "levels": 16, "polarity": ("on-off",)}, (1, 6, 8), 1 / 16, 128, 255),
        ({"frame": "points", "points": 32}, (4, 32), 1 / 255, 0, 255),
    ],
)
def test_what_the_frames_of_a_recipe_are(
    fields: dict[str, Any], shape: tuple[int, ...], scale: float, zero: int, highest: int
) -> None:
    recipe = FrameRecipe(**BASE, **fields)
    assert (recipe.shape, recipe.scale, recipe.zero, recipe.max_value) == (shape, scale, zero, highest)
    assert FrameRecipe.from_json(recipe.to_json()) == recipe
    assert recipe.decode(np.array([zero, 255], np.uint8)).tolist() == [0.0, scale * (255 - zero)]


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"frame": "time_surface", "levels": 9}, "tau_us is missing"),
        ({"frame": "points"}, "points is missing"),
        ({"levels": 9}, 'levels does not belong to a recipe of frame "counts"'),
        (
            {"frame": "points", "points": 3, "value": "count"},
            'value does not belong to a recipe of frame "points"',
        ),
        ({"crop": (9, 1)}, "the crop reaches beyond the sensor"),
        ({"crop": (7, 0, 2, 1)}, "the crop reaches beyond the sensor"),
        ({"crop": (1, 2, 3)}, "crop is malformed"),
        ({"downsample": 0}, "downsample is malformed"),
        ({"downsample": 1.5}, "downsample is malformed"),
        ({"polarity": ("on-off",)}, r'polarity \["on-off"\] does not belong to a recipe of frame "counts"'),
        ({"frame": "points", "points": 3, "tail": "last_frame"}, "no place for events after its end"),
        ({"frame": "voxel_grid", "levels": 3, "incomplete": "drop"}, "shares events with the one before"),
    ],
)
def test_recipes_that_are_none(fields: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=f"SL0110 recipe: .*{what}"):
        FrameRecipe(**BASE, **fields)


def test_frames_of_time_need_a_kind_of_time() -> None:
    with pytest.raises(InputError, match='frame "points" needs frames of equal time'):
        FrameRecipe(width=8, height=6, steps=2, kind="number", frame="points", points=3)


def test_a_voxel_grid_over_the_whole_recording_is_not_streamed() -> None:
    recipe = FrameRecipe(width=8, height=6, steps=2, kind="time", frame="voxel_grid", levels=3)
    with pytest.raises(InputError, match=r'kind "time" cannot be streamed: .*last event'):
        Framer(recipe)
