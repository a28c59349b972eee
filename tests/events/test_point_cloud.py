"""Point clouds: the same in any chunking, fairly drawn, within bytes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeloom.runtime.events.point_cloud import PointCloud
from spikeloom.runtime.events.stream import EVENT, Events, Geometry

SENSOR = Geometry(3, 2)
RECORDS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 2), st.integers(0, 1), st.integers(0, 1)),
    min_size=1,
    max_size=40,
)


def clouds(
    chunks: list[Events], sensor: Geometry, window: int, points: int, seed: int = 0
) -> NDArray[np.uint8]:
    cloud = PointCloud(sensor, window, points, seed)
    return np.array([one for chunk in chunks for one in cloud.push(chunk)] + cloud.finish())


@given(RECORDS, st.lists(st.integers(0, 40), max_size=6), st.integers(1, 5))
def test_they_do_not_depend_on_the_chunking(
    records: list[tuple[int, ...]], cuts: list[int], points: int
) -> None:
    events = np.array(sorted(records), EVENT)
    edges = [0, *sorted(cut for cut in cuts if cut < len(events)), len(events)]
    chunks = [events[a:b] for a, b in pairwise(edges)]
    whole = clouds([events], SENSOR, 7, points)
    assert np.array_equal(clouds(chunks, SENSOR, 7, points), whole)
    assert whole.shape == ((events["t"][-1] - events["t"][0]) // 7 + 1, 4, points)


@given(RECORDS)
def test_every_point_is_an_event_of_its_window(records: list[tuple[int, ...]]) -> None:
    events = np.array(sorted(records), EVENT)
    start = events["t"][0]
    for index, cloud in enumerate(clouds([events], SENSOR, 7, 5)):
        own = events[(events["t"] - start) // 7 == index]
        told = {
            (round(x * 255 / 2), y * 255, round((t - int(start) - 7 * index) * 255 / 6), p * 255)
            for t, x, y, p in own.tolist()
        }
        drawn = {tuple(int(value) for value in point) for point in cloud.T}
        if len(own) == 0:
            assert drawn == {(0, 0, 0, 0)}
        else:
            near = [min(max(abs(a - b) for a, b in zip(p, q, strict=True)) for q in told) for p in drawn]
            assert max(near) <= 1  # halves may go either way


def test_events_are_drawn_fairly_and_otherwise_with_another_seed() -> None:
    events = np.zeros(1000, EVENT)
    events["x"] = np.arange(1000) % 256
    counts = np.zeros(256)
    for seed in range(200):
        drawn = clouds([events], Geometry(256, 1), 10, 64, seed)[0, 0]
        counts += np.bincount(drawn, minlength=256)
    early, late = counts[:128].sum(), counts[128:].sum()
    share = np.bincount(events["x"], minlength=256)[:128].sum() / 1000
    assert early / (early + late) == pytest.approx(share, abs=0.02)
    assert counts.min() > 0


def test_what_makes_no_cloud_is_refused() -> None:
    with pytest.raises(ValueError, match="no cloud has a window of 0 us"):
        PointCloud(SENSOR, 0, 4)
