"""Point clouds: fairly drawn, spread over the bytes. That chunks make no difference is in test_frames.py."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.runtime.events.point_cloud import PointCloud
from spikeloom.runtime.events.stream import EVENT, Events


def cloud(events: Events, width: int, length: int, points: int, seed: int = 0) -> NDArray[np.uint8]:
    made = PointCloud(width, 1, length, points, seed)
    made.add(events, np.arange(len(events)), events["t"])
    return made.take()[0]


def test_events_are_drawn_fairly_and_otherwise_with_another_seed() -> None:
    events = np.zeros(1000, EVENT)
    events["x"] = np.arange(1000) % 256
    counts = np.zeros(256)
    for seed in range(200):
        counts += np.bincount(cloud(events, 256, 10, 64, seed)[0], minlength=256)
    early, late = counts[:128].sum(), counts[128:].sum()
    share = np.bincount(events["x"], minlength=256)[:128].sum() / 1000
    assert early / (early + late) == pytest.approx(share, abs=0.02)
    assert counts.min() > 0


def test_a_few_events_take_turns_in_their_order() -> None:
    events = np.array([(0, 3, 0, 1), (5, 0, 0, 0), (9, 1, 0, 1)], EVENT)
    x, y, t, p = cloud(events, 4, 10, 7).tolist()
    assert x == [255, 0, 85, 255, 0, 85, 255]
    assert y == [0] * 7
    assert t == [0, 142, 255, 0, 142, 255, 0]
    assert p == [255, 0, 255, 255, 0, 255, 255]


def test_a_frame_without_events_is_all_zeros() -> None:
    assert not cloud(np.zeros(0, EVENT), 4, 10, 3).any()
