from __future__ import annotations

import numpy as np
import pytest

from spikeloom.runtime.events.stream import EVENT, DropReport, Geometry


def test_geometry_contains_its_corners_and_nothing_beyond() -> None:
    events = np.array([(0, 0, 0, 0), (0, 3, 1, 1), (0, 4, 1, 1), (0, 3, 2, 1), (0, 3, 1, 2)], EVENT)
    assert Geometry(4, 2).contains(events).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("sides", [(0, 4), (4, -1), (65536, 4), (4, 65536)])
def test_impossible_geometry_is_refused(sides: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="geometry"):
        Geometry(*sides)


FIELDS = [
    "outside",
    "backwards",
    "jumps",
    "unknown",
    "left_over_bytes",
    "unplaced",
    "cropped",
    "late",
    "tail",
    "saturated",
]


def test_reports_add_field_by_field() -> None:
    one = DropReport(**{field: place for place, field in enumerate(FIELDS)})
    assert (one + one + DropReport()).to_json() == {field: 2 * place for place, field in enumerate(FIELDS)}
    assert (one + one).counts() == {field: 2 * place for place, field in enumerate(FIELDS) if place}


@pytest.mark.parametrize("field", FIELDS)
def test_a_report_is_true_as_soon_as_it_counts_anything(field: str) -> None:
    assert DropReport(**{field: 1})
    assert not DropReport()
    assert DropReport(**{field: 1}).damaged == (field in FIELDS[:5])
