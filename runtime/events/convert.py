"""Arrays that users bring, converted to frames, labels and events, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.errors import InputError
from spikeloom.runtime.events.stream import EVENT, MAX_SIDE, Events

Encoder = Callable[[NDArray[Any], str], NDArray[Any]]
"""From the numbers that a user brings, and where they stand, to frames: bytes, or tokens."""

LEVELS = 255
_NUMERIC = "biuf"
_ENCODE_FIRST = "encode the input as spikes or levels first"
_LATEST_US = 2**62  # the difference of two times still fits 64 bits
_LARGEST_LABEL = 2**31 - 1


def to_frames(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """The same array as uint8.

    Raises:
        InputError: SL0121, a value is not a whole number from 0 to 255.

    >>> to_frames(np.array([0.0, 2.0]), "x")
    array([0, 2], dtype=uint8)
    """
    require_whole(values, 0, LEVELS, where)
    return values.astype(np.uint8)


def to_labels(values: NDArray[Any], where: str) -> NDArray[np.int64]:
    """The same array as int64.

    Raises:
        InputError: SL0121, a value is not a whole number from 0.
    """
    require_whole(values, 0, _LARGEST_LABEL, where)
    return values.astype(np.int64)


def to_events(values: NDArray[Any], where: str) -> Events:
    """A structured array [n] with fields t, x, y, p (in any order, other fields ignored) as events [n].

    Coordinates and polarities that no sensor has become ones that lie outside every sensor, so that
    the check of the events counts them.

    Raises:
        InputError: SL0121, a field is missing, is not numeric, or holds no whole numbers.

    >>> table = np.array([(1, -1, 5)], [("x", "i2"), ("y", "i2"), ("t", "i8")])
    >>> to_events(table, "item 0")
    Traceback (most recent call last):
    spikeloom.errors.InputError: SL0121 item 0: events lack fields (wanted t, x, y, p, got x, y, t); ...
    """
    names = values.dtype.names or ()
    if not {"t", "x", "y", "p"} <= set(names):
        raise InputError.of(
            "SL0121", where, "events lack fields", wanted="t, x, y, p", got=", ".join(names) or values.dtype
        )
    if values.ndim != 1:
        raise InputError.of("SL0121", where, "events are no list", wanted="shape [n]", got=values.shape)
    require_whole(values["t"], -_LATEST_US, _LATEST_US, f"{where}, field t")
    events = np.empty(len(values), EVENT)
    events["t"] = values["t"]
    for field, highest in (("x", MAX_SIDE), ("y", MAX_SIDE), ("p", LEVELS)):
        require_whole(values[field], -_LATEST_US, _LATEST_US, f"{where}, field {field}")
        column = values[field].astype(np.int64)
        events[field] = np.where((column >= 0) & (column <= highest), column, highest)
    return events


def require_whole(
    values: NDArray[Any], lowest: int, highest: int, where: str, remedy: str = _ENCODE_FIRST
) -> None:
    """Refuse an array in which something else stands than whole numbers of an interval.

    Raises:
        InputError: SL0121.
    """
    if values.dtype.kind not in _NUMERIC:
        raise InputError.of("SL0121", where, "holds no numbers", got=values.dtype)
    if values.dtype.kind == "f":  # float16 does not reach the limits
        values = values.astype(np.result_type(values, np.float32), copy=False)
    bad = (values < lowest) | (values > highest)
    if values.dtype.kind == "f":
        bad |= values != np.rint(values)
    if not bad.any():
        return
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    raise InputError.of(
        "SL0121",
        where,
        f"{int(bad.sum()):,} of {values.size:,} values cannot be used",
        wanted=f"whole numbers from {lowest:,} to {highest:,}",
        got=f"{values[index]} at {list(index)}",
        remedy=remedy,
    )
