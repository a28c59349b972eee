"""Events to frames, incrementally: however a stream is cut into chunks, its frames are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.formats import CHUNK_EVENTS, open_events
from spikeloom.runtime.events.recipe import COUNT_LIMIT, FrameRecipe, require_streamable
from spikeloom.runtime.events.stream import DropReport, Events

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
        step: number of the frame that is begun.
        current: events counted into it.
        origin: time of the begin of frame 0 in microseconds; None if no event has told it yet.
        begun: whether any event has come.
        counts: of the frame that is begun, int64 [2, H, W].
        report: what was dropped so far.
    """

    consumed: int
    step: int
    current: int
    origin: int | None
    begun: bool
    counts: NDArray[np.int64]
    report: DropReport


class Framer:
    """Turns the events of one sample into its frames, holding the counts of one frame and no events.

    An event belongs to step (t - origin) // duration, or to its place in the recording // events a frame.
    Once any event of a later step came, the frame is finished and further events of its step are late.

    An endless framer makes frames for as long as events come. Frames of a fixed duration then begin with
    the one that holds the first event, on the same grid: a camera's clock may have run for years.

    Attributes:
        recipe: what the frames are.
        report: events dropped so far: late, tail, and those that a saturated pixel did not count.

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
        self._step = 0
        self._counts = np.zeros(recipe.shape, np.int64)
        self._seen = self._current = 0  # events so far, and those of them in the frame that is begun
        self._begun = False
        self._steps = NEVER if endless else recipe.steps
        self._empty = np.zeros(recipe.shape, np.uint8)
        self._empty.flags.writeable = False
        if extent is None:
            require_streamable(recipe, "recipe")
            extent = Extent()
        self._origin = _origin(recipe, extent)
        self._duration = recipe.duration_us or (extent.last_us - extent.first_us) // recipe.steps
        self._events = recipe.events or extent.count // recipe.steps

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
        if not len(events):
            return
        if not self.recipe.geometry.contains(events).all():
            raise ValueError("an event lies outside the sensor of the recipe")
        steps = self._steps_of(events)
        if self.recipe.tail == "last_frame":
            steps = np.minimum(steps, self._steps - 1)
        reached = np.maximum(np.maximum.accumulate(steps), self._step)
        cells = self._cells(events)
        starts = np.flatnonzero(np.diff(reached, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(events)], strict=True):
            step = int(reached[start])
            yield from self._finish_until(min(step, self._steps))
            self._take(steps[start:end], cells[start:end], step)

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
            self._counts[:] = 0
        return list(self._finish_until(self.recipe.steps))

    def state(self) -> FramerState:
        """Where it stands: a copy."""
        return FramerState(
            self._seen, self._step, self._current, self._origin, self._begun, self._counts.copy(), self.report
        )

    def restore(self, state: FramerState) -> None:
        """Go on from a state of a framer of the same recipe.

        Raises:
            ValueError: it has another shape.
        """
        if state.counts.shape != self._counts.shape:
            raise ValueError(f"wanted counts {self._counts.shape}, got {state.counts.shape}")
        self._seen, self._step, self._current = state.consumed, state.step, state.current
        self._origin, self._begun = state.origin, state.begun
        self._counts[:] = state.counts
        self.report = state.report

    def begins_at(self, step: int) -> int | None:
        """When frame ``step`` begins, in microseconds; None where frames have no time of their own."""
        if self._origin is None or self.recipe.kind in ("event_count", "number"):
            return None
        return self._origin + step * self._duration

    def _steps_of(self, events: Events) -> NDArray[np.int64]:
        if self.recipe.kind in ("event_count", "number"):
            self._begun = True
            places = np.arange(self._seen, self._seen + len(events), dtype=np.int64)
            return _divided(places, self._events, self._steps)
        first = int(events["t"][0])
        if self._origin is None:
            self._origin = first
        if not self._begun and self._steps == NEVER:
            self._origin += (first - self._origin) // self._duration * self._duration
        self._begun = True
        return _divided(events["t"] - self._origin, self._duration, self._steps)

    def _is_complete(self) -> bool:
        """Whether the frame that is begun has all its events; by time, none has before the next begins."""
        return self.recipe.kind == "event_count" and self._current == self._events

    def _cells(self, events: Events) -> NDArray[np.int64]:
        """The index of each event's pixel in the flattened frame."""
        recipe = self.recipe
        off_on = [recipe.polarity.index("off"), recipe.polarity.index("on")]
        channel = np.array(off_on, np.int64)[events["p"]]
        cells: NDArray[np.int64] = (channel * recipe.height + events["y"]) * recipe.width + events["x"]
        return cells

    def _take(self, steps: NDArray[np.int64], cells: NDArray[np.int64], step: int) -> None:
        """Count the events of one frame; those of earlier ones are late, those after the last are tail."""
        self._seen += len(steps)
        tail = steps >= self._steps
        timely = (steps == step) & ~tail
        self.report += DropReport(late=int((~timely & ~tail).sum()), tail=int(tail.sum()))
        self._current += int(timely.sum())
        np.add.at(self._counts.reshape(-1), cells[timely], 1)

    def _finish_until(self, step: int) -> Iterator[NDArray[np.uint8]]:
        while self._step < step:
            frame = self._take_frame() if self._current else self._empty
            self._step += 1
            yield frame

    def _take_frame(self) -> NDArray[np.uint8]:
        if self.recipe.value == "count":
            lost = np.maximum(self._counts - COUNT_LIMIT, 0).sum()
            self.report += DropReport(saturated=int(lost))
        frame = np.minimum(self._counts, self.recipe.max_value).astype(np.uint8)
        self._counts[:] = 0
        self._current = 0
        return frame


def _origin(recipe: FrameRecipe, extent: Extent) -> int | None:
    """Where frame 0 begins, if that is known already."""
    if recipe.kind == "time":
        return extent.first_us
    return 0 if recipe.origin == "absolute" else None


def _divided(values: NDArray[np.int64], size: int, steps: int) -> NDArray[np.int64]:
    """The steps of values in frames of a size; frames of no size hold nothing, and all comes after them."""
    if not size:
        return np.full(len(values), steps, np.int64)
    return values // size


def extent_of(chunks: Iterable[Events]) -> Extent:
    """The extent of a recording in chunks of events."""
    extent = Extent()
    for events in chunks:
        extent = extent.with_events(events) if len(events) else extent
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
    framer = Framer(recipe, extent_of(recording) if recipe.offline else None)
    frames = [frame for events in recording for frame in framer.push(events)]
    frames += framer.finish()
    return np.stack(frames), recording.report + framer.report
