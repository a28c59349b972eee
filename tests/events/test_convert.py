from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikeloom.errors import InputError
from spikeloom.runtime.events.convert import to_events, to_frames, to_labels
from spikeloom.runtime.events.stream import Geometry

NUMBERS = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i4", ">f8"]


@pytest.mark.parametrize("dtype", NUMBERS)
def test_every_kind_of_number_becomes_the_same_frame(dtype: str) -> None:
    frames = to_frames(np.array([[0, 1]], dtype), "x")
    assert frames.dtype == np.uint8
    assert frames.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("bad", "dtype"),
    [
        (-1, "i1"),
        (256, "i2"),
        (2**64 - 1, "u8"),
        (0.5, "f2"),
        (np.nan, "f4"),
        (np.inf, "f8"),
        (-np.inf, "f2"),
    ],
)
def test_values_that_are_no_level_are_counted_and_located(bad: float, dtype: str) -> None:
    values = np.zeros((2, 3), dtype)
    values[1, 2] = bad
    with pytest.raises(InputError, match=r"SL0121 x: 1 of 6 values .*from 0 to 255, got .* at \[1, 2\]"):
        to_frames(values, "x")


@pytest.mark.parametrize("values", [["a"], [1j], [None], [np.datetime64("2020")]])
def test_what_is_no_number(values: list[Any]) -> None:
    with pytest.raises(InputError, match="SL0121 x: holds no numbers"):
        to_frames(np.array(values), "x")


def test_labels_are_whole_numbers_from_0() -> None:
    assert to_labels(np.array([3.0, 0.0]), "y").tolist() == [3, 0]
    with pytest.raises(InputError, match="SL0121 y"):
        to_labels(np.array([-1]), "y")


@pytest.mark.parametrize("dtype", NUMBERS)
def test_events_of_every_kind_of_number(dtype: str) -> None:
    table = np.array([(1, 0, 1, 1)], [(field, dtype) for field in "xytp"])
    assert to_events(table, "e").tolist() == [(1, 1, 0, 1)]


@pytest.mark.parametrize(
    ("field", "bad"), [("x", -1), ("x", -65535), ("y", 70_000), ("x", 65536 + 1), ("p", -1), ("p", 257)]
)
def test_coordinates_that_no_sensor_has_stay_outside_every_sensor(field: str, bad: int) -> None:
    table = np.zeros(1, [(name, "i8") for name in "txyp"])
    table[field] = bad
    assert not Geometry(65535, 65535, 255).contains(to_events(table, "e")).any()


def test_other_fields_are_ignored() -> None:
    table = np.array([(1, 2, 3, 1, 9)], [(field, "i4") for field in ("t", "x", "y", "p", "extra")])
    assert to_events(table, "e").tolist() == [(1, 2, 3, 1)]


@pytest.mark.parametrize("bad", [0.5, np.nan, 1e300])
def test_times_are_whole_microseconds(bad: float) -> None:
    table = np.zeros(2, [(field, "f8") for field in "txyp"])
    table["t"][1] = bad
    with pytest.raises(InputError, match="SL0121 e, field t: 1 of 2 values"):
        to_events(table, "e")


def test_events_that_are_no_list_or_lack_fields() -> None:
    with pytest.raises(InputError, match=r"wanted t, x, y, p, got t, x, y\)"):
        to_events(np.zeros(1, [(field, "i4") for field in "txy"]), "e")
    with pytest.raises(InputError, match=r"wanted shape \[n\], got \(1, 2\)"):
        to_events(np.zeros((1, 2), [(field, "i4") for field in "txyp"]), "e")
