"""Events to frames, incrementally: however a stream is cut into chunks, its frames are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.events.accumulator import Accumulator
from spikeloom.runtime.events.counts import Counts
from spikeloom.runtime.events.field_of_view import FieldOfView
from spikeloom.runtime.events.formats import CHUNK_EVENTS, open_events
from spikeloom.runtime.events.point_cloud import PointCloud
from spikeloom.runtime.events.recipe import FrameRecipe, require_streamable
from spikeloom.runtime.events.recipe_rules import TIMED
from spikeloom.runtime.events.stream import DropReport, Events
from spikeloom.runtime.events.time_surface import TimeSurface
from spikeloom.runtime.events.voxel_grid import VoxelGrid

NEVER = 2**62
"""The number of frames of an endless stream."""


@dataclass(frozen=True)
class Extent:
    """What must be known of a whole recording before it can be split: its events that pass the check.

    >>> from spikeloom.runtime.events.stream import EVENT
    >>> extent = Extent()
    >>> extent.with_events(np.array([(3, 0, 0, 1), (12, 1, 0, 0)], EVENT))
    Extent(count=2, first_us=3, last_us=12)
    """

    count: int = 0
    first_us: int = 0
    last_us: int = 0

    def with_events(self, events: Events) -> Extent:
        """The extent with the next events [n], n ≥ 1."""
        first = self.first_us if self.count else int(events["t"][0])
        return Extent(self.count + len(events), first, int(events["t"][-1]))


@dataclass(frozen=True)
class FramerState:
    """Where a framer stands between two frames; :meth:`Framer.restore` goes on from there.

    Attributes:
        consumed: events that went in since the stream began; those after them come next.
        seen: how many of them lay in the field of view.
        step: number of the frame that is begun.
        current: events counted into it.
        origin: time of the begin of frame 0 in microseconds; None if no event has told it yet.
        begun: whether any event has come.
        arrays: of what gathers the events of a frame, by their names.
        report: what was dropped so far.
    """

    consumed: int
    seen: int
    step: int
    current: int
    origin: int | None
    begun: bool
    arrays: Mapping[str, Array]
    report: DropReport


class Framer:
    """Turns the events of one sample into its frames, holding what one frame is made of and no events.

    An event belongs to step (t - origin) // duration, or to its place in the recording // events a frame.
    Once any event of a later step came, the frame is finished and further events of its step are late.

    An endless framer makes frames for as long as events come. Frames of a fixed duration then begin with
    the one that holds the first event, on the same grid: a camera's clock may have run for years.

    Attributes:
        recipe: what the frames are.
        report: events dropped so far: cropped, late, tail, and those that saturated pixels did not count.

    >>> from spikeloom.runtime.events.stream import EVENT
    >>> framer = Framer(FrameRecipe(width=2, height=1, steps=3, duration_us=10))
    >>> [frame.tolist() for frame in framer.push(np.array([(3, 0, 0, 1), (12, 1, 0, 0)], EVENT))]
    [[[[0, 0]], [[1, 0]]]]
    >>> [frame.tolist() for frame in framer.finish()]
    [[[[0, 1]], [[0, 0]]], [[[0, 0]], [[0, 0]]]]
    """

    def __init__(self, recipe: FrameRecipe, extent: Extent | None = None, endless: bool = False) -> None:
        """``extent`` is that of the whole recording, which kinds that cannot be streamed need.

        Raises:
            InputError: SL0110, it is missing and the recipe needs it.
        """
        self.recipe = recipe
        self.report = DropReport()
        self._view = recipe.field_of_view
        self._step = 0
        self._consumed = self._seen = self._current = 0  # events; in view; and in the frame that is begun
        self._begun = False
        self._steps = NEVER if endless else recipe.steps
        if extent is None:
            require_streamable(recipe, "recipe")
            extent = Extent()
        self._grid = _grid(recipe, extent)
        self._origin = _origin(recipe, extent)
        self._frame = _accumulator(recipe, self._grid.length)

    def push(self, events: Events) -> list[NDArray[np.uint8]]:
        """Take the next events [n] and give the frames, uint8 [2, H, W], that are finished now.

        Raises:
            ValueError: an event lies outside the sensor; events are checked before they are framed,
                as :func:`~spikeloom.runtime.events.formats.open_events` does.
        """
        return list(self.feed(events))

    def feed(self, events: Events) -> Iterator[NDArray[np.uint8]]:
        """As :meth:`push`, a frame at a time: however long a silence is, one frame is in memory.

        Events are taken as far as the frame that is given; :meth:`state` says how many.
        """
        if not self.recipe.geometry.contains(events).all():
            raise ValueError("an event lies outside the sensor of the recipe")
        before = self._consumed
        places, seen = self._view.of(events)
        for part, step in self._parts(seen):
            yield from self._finish_until(min(step, self._steps))
            self._take(part, step)
            self._consume(before + int(places[part.last]) + 1, len(part.events))
        self._consume(before + len(events), 0)

    def finish(self) -> list[NDArray[np.uint8]]:
        """The frames that are left, so that exactly ``recipe.steps`` frames have come out.

        Of an endless framer, the frame that is begun.
        """
        if self._steps == NEVER:
            return list(self._finish_until(self._step + 1)) if self._begun else []
        if (
            self.recipe.incomplete == "drop"
            and 0 < self._step < self.recipe.steps
            and not self._is_complete()
        ):
            self.report += DropReport(tail=self._current)
            self._frame.clear()
        return list(self._finish_until(self.recipe.steps))

    def state(self) -> FramerState:
        """Where it stands: a copy."""
        return FramerState(
            self._consumed,
            self._seen,
            self._step,
            self._current,
            self._origin,
            self._begun,
            self._frame.arrays(),
            self.report,
        )

    def restore(self, state: FramerState) -> None:
        """Go on from a state of a framer of the same recipe.

        Raises:
            ValueError: it has another shape.
        """
        self._frame.restore(state.arrays)
        self._consumed, self._seen = state.consumed, state.seen
        self._step, self._current = state.step, state.current
        self._origin, self._begun = state.origin, state.begun
        self.report = state.report

    def begins_at(self, step: int) -> int | None:
        """When frame ``step`` begins, in microseconds; None where frames have no time of their own."""
        if self._origin is None or self.recipe.kind not in TIMED:
            return None
        return self._origin + step * self._grid.length

    def _parts(self, events: Events) -> Iterator[tuple[_Part, int]]:
        """The events in view cut where a frame begins, and the frame that is reached with each part."""
        if not len(events):
            return
        places = np.arange(self._seen, self._seen + len(events), dtype=np.int64)
        steps, offsets = self._grid.of(self._values(events, places), self._steps)
        if self.recipe.tail == "last_frame":
            steps = np.minimum(steps, self._steps - 1)
        reached = np.maximum(np.maximum.accumulate(steps), self._step)
        starts = np.flatnonzero(np.diff(reached, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(events)], strict=True):
            cut = slice(start, end)
            yield _Part(events[cut], places[cut], steps[cut], offsets[cut], end - 1), int(reached[start])

    def _values(self, events: Events, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where events lie on the grid of the frames: their times, or their places in the recording."""
        if self.recipe.kind not in TIMED:
            self._begun = True
            return places
        first = int(events["t"][0])
        if self._origin is None:
            self._origin = first
        if not self._begun and self._steps == NEVER:
            self._origin += (first - self._origin) // self._grid.length * self._grid.length
        self._begun = True
        return np.asarray(events["t"] - self._origin)

    def _is_complete(self) -> bool:
        """Whether the frame that is begun has all its events; by time, none has before the next begins."""
        return self.recipe.kind == "event_count" and self._current == self.recipe.events

    def _take(self, part: _Part, step: int) -> None:
        """Take the events of one frame; those of earlier ones are late, those after the last are tail."""
        tail = part.steps >= self._steps
        timely = (part.steps == step) & ~tail
        self.report += DropReport(late=int((~timely & ~tail).sum()), tail=int(tail.sum()))
        self._current += int(timely.sum())
        if timely.any():
            self._frame.add(part.events[timely], part.places[timely], part.offsets[timely])

    def _consume(self, consumed: int, seen: int) -> None:
        """Count the events that went in, of which so many lay in the field of view."""
        self.report += DropReport(cropped=consumed - self._consumed - seen)
        self._consumed = consumed
        self._seen += seen

    def _finish_until(self, step: int) -> Iterator[NDArray[np.uint8]]:
        while self._step < step:
            frame, lost = self._frame.take()
            self.report += DropReport(saturated=lost)
            self._current = 0
            self._step += 1
            yield frame


class _Part(NamedTuple):
    """Events of one chunk with which one frame is reached; ``last`` is the index of its last in the chunk."""

    events: Events
    places: NDArray[np.int64]
    steps: NDArray[np.int64]
    offsets: NDArray[np.int64]
    last: int


class _Grid(NamedTuple):
    """Where frames begin: value v lies in frame ⌊v · times / length⌋."""

    length: int
    times: int = 1

    def of(self, values: NDArray[np.int64], steps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The frames of values, and the offsets in them; on a grid of no length all lie after the last."""
        if not self.length:
            return np.full(len(values), steps, np.int64), np.zeros(len(values), np.int64)
        frames, offsets = np.divmod(values * self.times, self.length)
        return frames, offsets


def _grid(recipe: FrameRecipe, extent: Extent) -> _Grid:
    duration = extent.last_us - extent.first_us
    if recipe.kind == "event_count":
        return _Grid(recipe.events or 0)
    if recipe.kind == "number":
        return _Grid(extent.count // recipe.steps)
    if recipe.kind == "fixed_duration":
        return _Grid(recipe.duration_us or 0)
    if recipe.frame == "voxel_grid":
        return _Grid(duration, recipe.steps - (recipe.last_event == "last_bin"))
    return _Grid(duration // recipe.steps)


def _accumulator(recipe: FrameRecipe, length: int) -> Accumulator:
    """What makes the frames; ``length`` is that of one, in the grid's unit."""
    shape, polarity = recipe.shape, recipe.polarity
    if recipe.points is not None:
        view = recipe.field_of_view
        return PointCloud(view.width, view.height, length, recipe.points, recipe.seed)
    if recipe.levels is None:
        return Counts(shape, polarity, recipe.max_value, recipe.value == "count")
    if recipe.tau_us is not None:
        return TimeSurface(shape, polarity, length, recipe.tau_us, recipe.levels)
    return VoxelGrid(shape, polarity, length, recipe.levels, recipe.zero)


def _origin(recipe: FrameRecipe, extent: Extent) -> int | None:
    """Where frame 0 begins, if that is known already."""
    if recipe.kind == "time":
        return extent.first_us
    return 0 if recipe.origin == "absolute" else None


def extent_of(chunks: Iterable[Events], view: FieldOfView) -> Extent:
    """The extent of what is in view of a recording in chunks of events."""
    extent = Extent()
    for events in chunks:
        _, seen = view.of(events)
        extent = extent.with_events(seen) if len(seen) else extent
    return extent


def frames_of(
    path: Path | str,
    recipe: FrameRecipe,
    strict: bool = True,
    chunk_events: int = CHUNK_EVENTS,
    item: int | None = None,
) -> tuple[NDArray[np.uint8], DropReport]:
    """The frames of a recording, uint8 [T, 2, H, W], and what was dropped on the way.

    A recipe that needs the end of the recording reads the file twice. ``item`` says which of the recordings
    in a file that holds several.

    Raises:
        InputError: as :func:`~spikeloom.runtime.events.formats.open_events`.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.bin"
    ...     _ = path.write_bytes(bytes([3, 4, 0, 0, 7]))
    ...     frames, report = frames_of(path, FrameRecipe(width=34, height=34, steps=5, duration_us=60000))
    >>> frames.shape, int(frames.sum()), bool(report)
    ((5, 2, 34, 34), 1, False)
    """
    recording = open_events(path, recipe.geometry, strict, chunk_events, item)
    framer = Framer(recipe, extent_of(recording, recipe.field_of_view) if recipe.offline else None)
    frames = [frame for events in recording for frame in framer.push(events)]
    frames += framer.finish()
    return np.stack(frames), recording.report + framer.report
