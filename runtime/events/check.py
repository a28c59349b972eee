"""The check that every event passes before anything uses it, whatever file or link it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from spikeloom.errors import InputError, Problem, counted
from spikeloom.runtime.events.stream import Chunk, DropReport, Events, Geometry

_BEFORE_ALL = np.iinfo(np.int64).min
_TIME_LIMIT = 2**62  # the difference of two times still fits 64 bits

MAX_GAP_US = 60_000_000
"""The longest silence that is believed. Sensors see noise all the time; a minute without it is damage, or
two recordings in a file."""


class Check:
    """Keeps events on the sensor whose times neither fall nor jump; counts and locates the others.

    An event runs backwards when it is earlier than an event kept before it, and jumps when it is more than
    :data:`MAX_GAP_US` later. Events outside the sensor take no part in that comparison. Memory does not grow
    with the stream.

    Attributes:
        report: the counts so far.
        seen: how many events came in so far.

    >>> from spikeloom.runtime.events.stream import EVENT
    >>> check = Check(Geometry(4, 4))
    >>> check.keep(Chunk(np.array([(5, 0, 0, 1), (6, 9, 0, 0), (2, 1, 1, 0)], EVENT)))["t"].tolist()
    [5]
    >>> check.report.counts()
    {'outside': 1, 'backwards': 1}
    """

    def __init__(self, geometry: Geometry, record_bytes: int = 0) -> None:
        """``record_bytes`` is the size of a record if all are equally long; it makes messages exact."""
        self.geometry = geometry
        self.report = DropReport()
        self.seen = 0
        self._record_bytes = record_bytes
        self._latest = _BEFORE_ALL
        self._first: dict[str, str] = {}

    def keep(self, chunk: Chunk) -> Events:
        """The events of the next chunk that pass, in their order."""
        events = chunk.events
        self.report += DropReport(
            left_over_bytes=chunk.left_over_bytes, unplaced=chunk.unplaced, unknown=chunk.unknown
        )
        inside = self.geometry.contains(events)
        if not (inside.all() and self._steady(events["t"])):
            events = events[self._passing(chunk, inside)]
        if len(events):
            self._latest = int(events["t"][-1])
        self.seen += len(chunk.events)
        return events

    def lost(self, lost_bytes: int) -> None:
        """Count bytes that could not even be decompressed."""
        self.report += DropReport(left_over_bytes=lost_bytes)

    def problems(self, where: object) -> list[Problem]:
        """All that is wrong with the stream so far, one problem a kind of fault; empty if nothing is."""
        report, place = self.report, str(where)
        found = []
        if report.left_over_bytes:
            found.append(self._truncated(place))
        elif not self.seen:
            found.append(Problem("SL0102", place, "holds no events", remedy="leave it out"))
        if report.unknown:
            what = f"{counted(report.unknown, 'record')} of no kind that the format knows"
            remedy = "copy the file again, or pass --no-strict to leave them out"
            found.append(Problem("SL0108", place, what, remedy=remedy))
        if report.outside:
            what = f"{report.outside:,} of {counted(self.seen, 'event')} outside the sensor"
            remedy = "name the right sensor in the recipe, or pass --no-strict to drop them"
            found.append(Problem("SL0104", place, what, str(self.geometry), self._first["outside"], remedy))
        if report.backwards:
            what = f"{report.backwards:,} of {counted(self.seen, 'event')} backwards in time"
            remedy = "sort the recording by time, or pass --no-strict to drop them"
            wanted = "times that never fall"
            found.append(Problem("SL0105", place, what, wanted, self._first["backwards"], remedy))
        if report.jumps:
            what = f"{report.jumps:,} of {counted(self.seen, 'event')} after a silence that no sensor has"
            remedy = "cut the recording there, or pass --no-strict to drop them"
            wanted = f"at most {MAX_GAP_US // 1_000_000} s between events"
            found.append(Problem("SL0109", place, what, wanted, self._first["jumps"], remedy))
        return found

    def _steady(self, t: NDArray[np.int64]) -> bool:
        """Whether times neither fall nor jump, from the latest kept one on."""
        if not len(t):
            return True
        first, last = int(t[0]), int(t[-1])
        if first < -_TIME_LIMIT or last > _TIME_LIMIT or self._fault(first) or (t[1:] < t[:-1]).any():
            return False
        return last - first <= MAX_GAP_US or bool((np.diff(t) <= MAX_GAP_US).all())

    def _fault(self, t: int) -> str:
        """What is wrong with a time, if anything."""
        if abs(t) > _TIME_LIMIT:
            return "jumps"
        if self._latest == _BEFORE_ALL:
            return ""
        if t < self._latest:
            return "backwards"
        return "jumps" if t - self._latest > MAX_GAP_US else ""

    def _passing(self, chunk: Chunk, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which events pass, one at a time; counts and locates the others."""
        passing = np.zeros(len(inside), np.bool_)
        counts = {"outside": 0, "backwards": 0, "jumps": 0}
        for index, (t, lies_inside) in enumerate(
            zip(chunk.events["t"].tolist(), inside.tolist(), strict=True)
        ):
            fault = self._fault(t) if lies_inside else "outside"
            if not fault:
                passing[index] = True
                self._latest = t
                continue
            counts[fault] += 1
            if fault not in self._first:
                after = (
                    "" if fault == "outside" or self._latest == _BEFORE_ALL else f" after t={self._latest} us"
                )
                self._first[fault] = self._describe(chunk, index) + after
        self.report += DropReport(**counts)
        return passing

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
        left = f"{counted(rest, 'byte')} {'is' if rest == 1 else 'are'} left over"
        what = f"is truncated: {left} after {counted(self.seen, 'event')}"
        wanted = f"records of {self._record_bytes} bytes" if self._record_bytes else "whole records"
        remedy = "copy the file again, or pass --no-strict to use what is whole"
        return Problem("SL0103", place, what, wanted, remedy=remedy)


def strictly(chunks: Iterable[Chunk], check: Check, where: object) -> Iterator[Events]:
    """The events of ``chunks``, refused if anything is wrong with them.

    From the first fault on nothing more is given out, and the rest is only read to name all faults.

    Raises:
        InputError: SL0102 to SL0105, SL0108, SL0109, all faults of the stream at once.
    """
    for chunk in chunks:
        events = check.keep(chunk)
        if not check.report.damaged and len(events):
            yield events
    if problems := check.problems(where):
        raise InputError(problems)


def leniently(chunks: Iterable[Chunk], check: Check) -> Iterator[Events]:
    """The good events of ``chunks``; what was dropped is in ``check.report``."""
    for chunk in chunks:
        events = check.keep(chunk)
        if len(events):
            yield events
