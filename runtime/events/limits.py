"""What a file format can hold: the check before events are written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from spikeloom.errors import InputError, Problem, counted
from spikeloom.runtime.events.stream import Events, Geometry


def require_writable_events(
    path: Path, events: Events, geometry: Geometry, max_time_us: int, format_name: str
) -> None:
    """Refuse events that a format cannot hold, or that would not be read back as they are.

    Raises:
        InputError: SL0107, all such fields at once.
    """
    limits = {
        "t": max_time_us,
        "x": geometry.width - 1,
        "y": geometry.height - 1,
        "p": geometry.polarities - 1,
    }
    problems = beyond_limits(path, events, limits, format_name)
    falls = np.flatnonzero(events["t"][1:] < events["t"][:-1])
    if len(falls):
        where = f"event {falls[0] + 1:,}"
        what = "events run backwards in time"
        problems.append(Problem("SL0107", str(path), what, "times that never fall", where, "sort them"))
    if problems:
        raise InputError(problems)


def beyond_limits(path: Path, events: Events, limits: Mapping[str, int], format_name: str) -> list[Problem]:
    """A problem for each field of the events that is below zero or above its limit somewhere."""
    problems = []
    for field, limit in limits.items():
        bad = np.flatnonzero((events[field] < 0) | (events[field] > limit))
        if len(bad):
            what = f"{len(bad):,} of {counted(len(events), 'event')} beyond the {format_name} format"
            got = f"{field}={events[field][bad[0]]} in event {bad[0]:,}"
            problems.append(Problem("SL0107", str(path), what, f"{field} from 0 to {limit:,}", got))
    return problems
