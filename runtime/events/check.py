"""The check that every event passes before anything uses it, whatever file or link it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from spikeloom.errors import InputError, Problem
from spikeloom.runtime.events.stream import Chunk, DropReport, Events, Geometry

_BEFORE_ALL = np.iinfo(np.int64).min


class Check:
    """Keeps events that lie on the sensor and do not run backwards in time; counts and locates the others.

    An event runs backwards when it is earlier than an event kept before it. Events outside the sensor
    take no part in that comparison. Memory does not grow with the stream.

    Attributes:
        report: the counts so far.
        seen: how many events came in so far.

    >>> from spikeloom.runtime.events.stream import EVENT
    >>> check = Check(Geometry(4, 4))
    >>> check.keep(Chunk(np.array([(5, 0, 0, 1), (6, 9, 0, 0), (2, 1, 1, 0)], EVENT)))["t"].tolist()
    [5]
    >>> check.report
    DropReport(outside=1, backwards=1, left_over_bytes=0, late=0, tail=0, saturated=0)
    """

    def __init__(self, geometry: Geometry, record_bytes: int = 0) -> None:
        """``record_bytes`` is the size of a record if all are equally long; it makes messages exact."""
        self.geometry = geometry
        self.report = DropReport()
        self.seen = 0
        self._record_bytes = record_bytes
        self._latest = _BEFORE_ALL
        self._first_outside = ""
        self._first_backwards = ""

    def keep(self, chunk: Chunk) -> Events:
        """The events of the next chunk that pass, in their order."""
        inside = self.geometry.contains(chunk.events)
        forwards = self._forwards(chunk.events["t"], inside)
        passed = inside & forwards
        self._count(chunk, ~inside, inside & ~forwards)
        events = chunk.events if passed.all() else chunk.events[passed]
        if len(events):
            self._latest = int(events["t"][-1])
        self.seen += len(chunk.events)
        return events

    def problems(self, where: object) -> list[Problem]:
        """All that is wrong with the stream so far, one problem a kind of fault; empty if nothing is."""
        report, place = self.report, str(where)
        found = []
        if report.left_over_bytes:
            found.append(self._truncated(place))
        elif not self.seen:
            found.append(Problem("SL0102", place, "holds no events", remedy="leave it out"))
        if report.outside:
            what = f"{report.outside:,} of {self.seen:,} events lie outside the sensor"
            remedy = "name the right sensor in the recipe, or pass --no-strict to drop them"
            found.append(Problem("SL0104", place, what, str(self.geometry), self._first_outside, remedy))
        if report.backwards:
            what = f"{report.backwards:,} of {self.seen:,} events run backwards in time"
            remedy = "sort the recording by time, or pass --no-strict to drop them"
            found.append(
                Problem("SL0105", place, what, "times that never fall", self._first_backwards, remedy)
            )
        return found

    def _forwards(self, t: NDArray[np.int64], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which times are at or after each kept time before them."""
        times = np.where(inside, t, _BEFORE_ALL)
        latest_before = np.empty_like(times)
        if len(times):
            latest_before[0] = self._latest
            np.maximum.accumulate(times[:-1], out=latest_before[1:])
            np.maximum(latest_before, self._latest, out=latest_before)
        return np.asarray(t >= latest_before)

    def _count(self, chunk: Chunk, outside: NDArray[np.bool_], backwards: NDArray[np.bool_]) -> None:
        if not self._first_outside and outside.any():
            self._first_outside = self._describe(chunk, int(outside.argmax()))
        if not self._first_backwards and backwards.any():
            index = int(backwards.argmax())
            before = chunk.events["t"][:index][~outside[:index]]
            latest = int(before[-1]) if len(before) else self._latest
            self._first_backwards = f"{self._describe(chunk, index)} after t={latest} us"
        self.report += DropReport(
            outside=int(outside.sum()),
            backwards=int(backwards.sum()),
            left_over_bytes=chunk.left_over_bytes,
        )

    def _describe(self, chunk: Chunk, index: int) -> str:
        t, x, y, p = chunk.events[index].tolist()
        return f"event {self.seen + index:,}{self._byte(chunk, index)}: x={x} y={y} p={p} t={t} us"

    def _byte(self, chunk: Chunk, index: int) -> str:
        if chunk.offset is None:
            return ""
        exact = self._record_bytes or not index
        return f" {'at' if exact else 'after'} byte {chunk.offset + index * self._record_bytes:,}"

    def _truncated(self, place: str) -> Problem:
        rest = self.report.left_over_bytes
        left = "1 byte is left over" if rest == 1 else f"{rest} bytes are left over"
        what = f"is truncated: {left} after {self.seen:,} events"
        wanted = f"records of {self._record_bytes} bytes" if self._record_bytes else "whole records"
        remedy = "copy the file again, or pass --no-strict to use what is whole"
        return Problem("SL0103", place, what, wanted, remedy=remedy)


def strictly(chunks: Iterable[Chunk], check: Check, where: object) -> Iterator[Events]:
    """The events of ``chunks``, refused if anything is wrong with them.

    From the first fault on nothing more is given out, and the rest is only read to name all faults.

    Raises:
        InputError: SL0102 to SL0105, all faults of the stream at once.
    """
    for chunk in chunks:
        events = check.keep(chunk)
        if not check.report and len(events):
            yield events
    if problems := check.problems(where):
        raise InputError(problems)


def leniently(chunks: Iterable[Chunk], check: Check) -> Iterator[Events]:
    """The good events of ``chunks``; what was dropped is in ``check.report``."""
    for chunk in chunks:
        events = check.keep(chunk)
        if len(events):
            yield events
