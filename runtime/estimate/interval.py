"""Numbers that are known within a band."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spikeloom.compiler.graph.figure import Figure


@dataclass(frozen=True)
class Interval:
    """A quantity with its band; all three are at or above zero here, so products keep the order.

    >>> Interval(1, 2, 4) + Interval.exactly(1), Interval(1, 2, 4) * 2
    (Interval(low=2, nominal=3, high=5), Interval(low=2, nominal=4, high=8))
    """

    low: float
    nominal: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.nominal <= self.high:
            raise ValueError(f"{self.low}, {self.nominal}, {self.high} are not a band at or above zero")

    @staticmethod
    def exactly(value: float) -> Interval:
        """A number without doubt."""
        return Interval(value, value, value)

    @staticmethod
    def of(figure: Figure) -> Interval:
        """The band of a constant."""
        return Interval(figure.low, figure.nominal, figure.high)

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.nominal + other.nominal, self.high + other.high)

    def __mul__(self, other: Interval | float) -> Interval:
        by = other if isinstance(other, Interval) else Interval.exactly(other)
        return Interval(self.low * by.low, self.nominal * by.nominal, self.high * by.high)

    def over(self, other: Interval) -> Interval:
        """The quotient: the low end by the other's high end."""
        return Interval(self.low / other.high, self.nominal / other.nominal, self.high / other.low)

    def to_json(self) -> dict[str, float]:
        """The three numbers by name."""
        return {"low": self.low, "nominal": self.nominal, "high": self.high}


def total(parts: Iterable[Interval]) -> Interval:
    """The sum of intervals."""
    result = Interval.exactly(0)
    for part in parts:
        result = result + part
    return result


def largest(parts: Iterable[Interval]) -> Interval:
    """The largest low end, nominal value and high end."""
    entries = list(parts)

    def pick(read: Callable[[Interval], float]) -> float:
        return max(read(entry) for entry in entries)

    return Interval(pick(lambda e: e.low), pick(lambda e: e.nominal), pick(lambda e: e.high))
