"""Intervals of shares, of their differences and of any metric, against definitions and published values."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import multinomial

from spikeloom.runtime.metric import measured
from spikeloom.runtime.score import Z95, paired_interval, wilson_interval


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_intervals(right: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("right", "total"), [(59, 60), (0, 1), (1, 1), (500, 1060)])
def test_the_ends_are_where_the_test_just_accepts(right: int, total: int) -> None:
    """|p - share| = z sqrt(p (1 - p) / n) at both ends."""
    for p in wilson_interval(right, total):
        if 0 < p < 1:
            assert abs(p - right / total) == pytest.approx(Z95 * sqrt(p * (1 - p) / total), abs=1e-9)


def test_the_interval_stays_within_zero_and_one_and_holds_the_share() -> None:
    for total in range(1, 40):
        for right in range(total + 1):
            low, high = wilson_interval(right, total)
            assert -1e-12 <= low <= right / total + 1e-12
            assert right / total - 1e-12 <= high <= 1 + 1e-12


@pytest.mark.parametrize(("right", "total"), [(1, 0), (0, 0), (-1, 3), (4, 3)])
def test_what_is_no_proportion(right: int, total: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson_interval(right, total)


def test_the_bootstrap_interval_of_a_mean_is_the_normal_one() -> None:
    """0.9 ± 1.96 sqrt(0.9 * 0.1 / 1000); an interval of 90 % would be shorter by 0.003 on either side."""

    def share(evidence: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
        return float((evidence.argmax(1) == labels).mean())

    labels = np.zeros(1000, np.int64)
    evidence = np.eye(2)[(np.arange(1000) >= 900).astype(int)]
    found = measured("m.py:share", share, evidence, labels)
    reach = Z95 * sqrt(0.9 * 0.1 / 1000)
    assert (found.name, found.value) == ("share", 0.9)
    assert (found.low, found.high) == pytest.approx((0.9 - reach, 0.9 + reach), abs=1.5e-3)


def test_a_published_difference() -> None:
    """Two surveys of 1,600 voters: A. Agresti, Categorical Data Analysis (2002), section 10.1.1."""
    assert paired_interval(150, 86, 1600) == pytest.approx((0.02, 0.06), abs=5e-3)


@pytest.mark.parametrize("shares", [(0.02, 0.02), (0.05, 0.01), (0.1, 0.1), (0.15, 0.0)])
def test_the_interval_holds_the_difference_about_19_times_in_20(shares: tuple[float, float]) -> None:
    n, wanted = 60, shares[0] - shares[1]
    counts = [(lost, gained) for lost in range(n + 1) for gained in range(n + 1 - lost)]
    weights = multinomial.pmf([(a, b, n - a - b) for a, b in counts], n, (*shares, 1 - sum(shares)))
    held = [low <= wanted <= high for low, high in (paired_interval(*pair, n) for pair in counts)]
    assert 0.93 < float(weights @ held) <= 1


@pytest.mark.parametrize(("lost", "gained", "total"), [(-1, 0, 3), (2, 2, 3), (0, 0, 0)])
def test_what_is_no_difference(lost: int, gained: int, total: int) -> None:
    with pytest.raises(ValueError, match="no shares"):
        paired_interval(lost, gained, total)
