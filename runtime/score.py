"""How sure an accuracy is."""

from __future__ import annotations

from math import sqrt

Z95 = 1.959963984540054


def wilson_interval(right: int, total: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, 95 % by default (E. B. Wilson, JASA 22, 1927).

    Raises:
        ValueError: there is no trial, or more successes than trials.

    >>> [round(bound, 3) for bound in wilson_interval(59, 60)]
    [0.911, 0.997]
    """
    if not 0 <= right <= total or total == 0:
        raise ValueError(f"{right} of {total} is no proportion")
    share = right / total
    centre = share + z**2 / (2 * total)
    reach = z * sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return (centre - reach) / (1 + z**2 / total), (centre + reach) / (1 + z**2 / total)
