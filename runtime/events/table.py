"""Columns of numbers, from files that hold any kind of them, as events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.stream import EVENT, MAX_SIDE, Events, Malformed

NAMES = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "x": ("x", "xs"),
    "y": ("y", "ys"),
    "p": ("p", "ps", "pol", "polarity", "polarities"),
}
_LATEST = 2.0**62
_NOWHERE = {"x": MAX_SIDE, "y": MAX_SIDE, "p": 255}


def find_columns(names: list[str]) -> dict[str, str]:
    """Which of the names stand for t, x, y and p.

    Raises:
        Malformed: one of the four is missing or named twice.

    >>> find_columns(["x", "y", "timestamp", "polarity"])
    {'t': 'timestamp', 'x': 'x', 'y': 'y', 'p': 'polarity'}
    """
    lower = {name.strip().lower(): name for name in names}
    found = {}
    for field, known in NAMES.items():
        matching = [lower[name] for name in known if name in lower]
        if len(matching) != 1:
            what = f"no column is {field}" if not matching else f"{len(matching)} columns are {field}"
            raise Malformed(what, " or ".join(known), ", ".join(names)[:200])
        found[field] = matching[0]
    return found


def to_events(columns: Mapping[str, NDArray[Any]]) -> tuple[Events, int]:
    """Columns t (microseconds), x, y, p, each [n], as events, and how many rows are no whole numbers.

    A polarity of -1 is off. Coordinates and polarities that no sensor has become ones outside every
    sensor, so that the check of the events counts them.

    Raises:
        Malformed: a column holds no numbers.

    >>> to_events({"t": np.array([1, 2]), "x": [0, -5], "y": [0, 0], "p": [-1, 1]})[0].tolist()
    [(1, 0, 0, 0), (2, 65535, 0, 1)]
    """
    whole = {field: _whole(field, np.asarray(column)) for field, column in columns.items()}
    good = np.logical_and.reduce([valid for _, valid in whole.values()])
    events = np.empty(int(good.sum()), EVENT)
    events["t"] = whole["t"][0][good]
    for field, nowhere in _NOWHERE.items():
        column = whole[field][0][good]
        if field == "p":
            column = np.where(column == -1, 0, column)
        events[field] = np.where((column >= 0) & (column < nowhere), column, nowhere)
    return events, len(good) - len(events)


def _whole(field: str, column: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The column as whole numbers, and where it holds such."""
    if column.dtype.kind in "biu" and column.dtype != np.uint64:
        return column.astype(np.int64), np.ones(len(column), np.bool_)
    if column.dtype.kind not in "fu":
        raise Malformed(f"column {field} holds no numbers", got=str(column.dtype))
    if column.dtype.kind == "u":
        return column.astype(np.int64), np.asarray(column <= np.uint64(2**62))
    column = column.astype(np.float64)
    with np.errstate(invalid="ignore"):
        valid = (np.abs(column) <= _LATEST) & (column == np.rint(column))
    return np.where(valid, column, 0).astype(np.int64), np.asarray(valid)


def seconds_to_us(seconds: NDArray[Any]) -> NDArray[np.float64]:
    """Times in seconds as whole microseconds; what is no number stays none."""
    times: NDArray[np.float64] = np.rint(np.asarray(seconds, np.float64) * 1e6)
    return times
