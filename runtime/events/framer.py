"""Events to frames, incrementally: however a stream is cut into chunks, its frames are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.formats import CHUNK_EVENTS, open_events
from spikeloom.runtime.events.recipe import COUNT_LIMIT, FrameRecipe
from spikeloom.runtime.events.stream import DropReport, Events


class Framer:
    """Turns the events of one sample into its frames, holding the counts of one frame and no events.

    An event belongs to step (t - origin) // duration. Once any event of a later step came, the frame
    is finished and further events of its step are late.

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

    def __init__(self, recipe: FrameRecipe) -> None:
        self.recipe = recipe
        self.report = DropReport()
        self._step = 0
        self._counts = np.zeros(recipe.shape, np.int64)
        self._origin: int | None = 0 if recipe.origin == "absolute" else None

    def push(self, events: Events) -> list[NDArray[np.uint8]]:
        """Take the next events [n] and give the frames, uint8 [2, H, W], that are finished now.

        Raises:
            ValueError: an event lies outside the sensor; events are checked before they are framed,
                as :func:`~spikeloom.runtime.events.formats.open_events` does.
        """
        if not len(events):
            return []
        if not self.recipe.geometry.contains(events).all():
            raise ValueError("an event lies outside the sensor of the recipe")
        steps = self._steps_of(events["t"])
        reached = np.maximum(np.maximum.accumulate(steps), self._step)
        tail = steps >= self.recipe.steps
        timely = (steps == reached) & ~tail
        self.report += DropReport(late=int((~timely & ~tail).sum()), tail=int(tail.sum()))
        finished = self._count(steps[timely], self._cells(events[timely]))
        return finished + self._finish_until(min(int(reached[-1]), self.recipe.steps))

    def finish(self) -> list[NDArray[np.uint8]]:
        """The frames that are left, so that exactly ``recipe.steps`` frames have come out."""
        return self._finish_until(self.recipe.steps)

    def _steps_of(self, t: NDArray[np.int64]) -> NDArray[np.int64]:
        if self._origin is None:
            self._origin = int(t[0])
        steps: NDArray[np.int64] = (t - self._origin) // self.recipe.duration_us
        return steps

    def _cells(self, events: Events) -> NDArray[np.int64]:
        """The index of each event's pixel in the flattened frame."""
        recipe = self.recipe
        off_on = [recipe.polarity.index("off"), recipe.polarity.index("on")]
        channel = np.array(off_on, np.int64)[events["p"]]
        cells: NDArray[np.int64] = (channel * recipe.height + events["y"]) * recipe.width + events["x"]
        return cells

    def _count(self, steps: NDArray[np.int64], cells: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Count events whose steps never fall; give the frames finished on the way."""
        finished: list[NDArray[np.uint8]] = []
        present, starts = np.unique(steps, return_index=True)
        for step, frame_cells in zip(present, np.split(cells, starts[1:]), strict=False):
            finished += self._finish_until(int(step))
            np.add.at(self._counts.reshape(-1), frame_cells, 1)
        return finished

    def _finish_until(self, step: int) -> list[NDArray[np.uint8]]:
        finished = [self._take_frame() for _ in range(self._step, step)]
        self._step = max(self._step, step)
        return finished

    def _take_frame(self) -> NDArray[np.uint8]:
        if self.recipe.value == "count":
            lost = np.maximum(self._counts - COUNT_LIMIT, 0).sum()
            self.report += DropReport(saturated=int(lost))
        frame = np.minimum(self._counts, self.recipe.max_value).astype(np.uint8)
        self._counts[:] = 0
        return frame


def frames_of(
    path: Path | str,
    recipe: FrameRecipe,
    strict: bool = True,
    chunk_events: int = CHUNK_EVENTS,
    item: int | None = None,
) -> tuple[NDArray[np.uint8], DropReport]:
    """The frames of a recording, uint8 [T, 2, H, W], and what was dropped on the way.

    ``item`` says which of the recordings in a file that holds several.

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
    framer = Framer(recipe)
    frames = [frame for events in recording for frame in framer.push(events)]
    frames += framer.finish()
    return np.stack(frames), recording.report + framer.report
