"""The simulated camera does what its pixel model says, and the same each time."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from examples.digits import camera
from examples.digits.camera import DURATION_US, Camera


def noiseless(**options: Any) -> Camera:
    return Camera(mismatch=0.0, background_hz=0.0, **options)


@pytest.fixture
def drawings() -> NDArray[np.float64]:
    return np.random.default_rng(3).integers(0, 17, (70, 8, 8)).astype(float)


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(camera)
    assert result.attempted
    assert not result.failed


def test_events_of_one_pixel_on_a_ramp() -> None:
    """Worked out by hand: log intensity 0 to 1 to 0, threshold 1/4, blind for 128 us after each event."""
    quarter = np.array([0.25])
    pixel = camera._Pixels(np.zeros(1), quarter, quarter, refractory_us=128)
    up = list(pixel.advance(np.ones(1), 0, 1024))
    down = list(pixel.advance(np.zeros(1), 1024, 1024))
    assert [(int(t), bool(on)) for _, time, rising in up for t, on in zip(time, rising, strict=True)] == [
        (256, True),  # at 1/4; sees again at 384, from 3/8
        (640, True),  # at 5/8; sees again at 768, from 3/4
        (1024, True),  # at 1; sees again at 1152, from 7/8 on the way down
    ]
    assert [(int(t), bool(on)) for _, time, rising in down for t, on in zip(time, rising, strict=True)] == [
        (1408, False),  # at 5/8; sees again at 1536, from 1/2
        (1792, False),  # at 1/4
    ]


def test_events_tell_the_intensity_within_one_threshold(drawings: NDArray[np.float64]) -> None:
    """Without blindness the reference is the first level plus the ON minus the OFF thresholds crossed."""
    camera = noiseless(refractory_us=0)
    levels = list(camera._log_intensity(drawings[:1]))
    (events,) = camera.record(drawings[:1], [0])
    for time in (50_000, 100_000, 150_000, 300_000):
        seen = events[events["t"] < time]
        crossed = np.zeros((16, 16))
        np.add.at(crossed, (seen["y"], seen["x"]), np.where(seen["p"], camera.threshold, -camera.threshold))
        change = (levels[time // camera.step_us] - levels[0]).reshape(16, 16)
        assert np.abs(crossed).max() >= camera.threshold
        np.testing.assert_allclose(crossed, change, rtol=0, atol=camera.threshold + 1e-9)


def test_nothing_moves_nothing_fires(drawings: NDArray[np.float64]) -> None:
    (events,) = noiseless(amplitude=0.0).record(drawings[:1], [0])
    assert len(events) == 0


def test_background_activity_has_the_rate_that_is_declared() -> None:
    recordings = Camera(background_hz=2.0).record(np.zeros((50, 8, 8)), range(50))
    expected = 2.0 * 256 * DURATION_US / 1e6 * 50
    assert abs(sum(map(len, recordings)) - expected) < 4 * expected**0.5  # four standard deviations
    assert 0.4 < np.mean(np.concatenate(recordings)["p"]) < 0.6


def test_a_higher_threshold_gives_fewer_events(drawings: NDArray[np.float64]) -> None:
    coarse, fine = (noiseless(threshold=c).record(drawings[:1], [0])[0] for c in (0.4, 0.2))
    assert len(fine) > 1.5 * len(coarse)


def test_a_recording_depends_on_seed_and_number_alone(drawings: NDArray[np.float64]) -> None:
    together = Camera(seed=1).record(drawings, range(70))
    alone = [Camera(seed=1).record(drawings[i : i + 1], [i])[0] for i in (0, 63, 64, 69)]
    for events, again in zip((together[i] for i in (0, 63, 64, 69)), alone, strict=True):
        np.testing.assert_array_equal(events, again)
    (other_seed,) = Camera(seed=2).record(drawings[:1], [0])
    (other_number,) = Camera(seed=1).record(drawings[:1], [1])
    assert len(together[0]) != len(other_seed) or np.any(together[0] != other_seed)
    assert len(together[0]) != len(other_number) or np.any(together[0] != other_number)


def test_events_lie_on_the_sensor_in_order_of_time(drawings: NDArray[np.float64]) -> None:
    for events in Camera().record(drawings, range(70)):
        assert events["x"].max() < 16
        assert events["y"].max() < 16
        assert set(np.unique(events["p"])) == {0, 1}
        assert np.all(np.diff(events["t"]) >= 0)
        assert 0 <= events["t"][0] <= events["t"][-1] <= DURATION_US
