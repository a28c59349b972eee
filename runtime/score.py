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


def paired_interval(lost: float, gained: float, total: float, z: float = Z95) -> tuple[float, float]:
    """The interval of a difference between two answers to the same questions, 95 % by default.

    Wald's with half an answer added to each of the four counts (A. Agresti, Y. Min, Statistics in Medicine
    24, 2005): only answers that differ make it wide.

    Args:
        lost: right the first time and wrong the second.
        gained: wrong the first time and right the second.
        total: questions.
        z: standard deviations to each side.

    Returns:
        Bounds of (lost - gained) / total.

    Raises:
        ValueError: there is no question, or more answers than questions.

    >>> [round(bound, 3) for bound in paired_interval(10, 4, 200)]
    [-0.008, 0.067]
    """
    if min(lost, gained) < 0 or lost + gained > total or total == 0:
        raise ValueError(f"{lost} and {gained} of {total} are no shares")
    n, apart = total + 2, lost - gained
    reach = z * sqrt(lost + gained + 1 - apart**2 / n) / n
    return apart / n - reach, apart / n + reach
