"""A number with its band and its source: the cost record that everybody shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from spikeloom.errors import InputError

Origin = Literal["measured", "specified", "presilicon", "fitted", "inherited", "assumed"]
ORIGINS: tuple[Origin, ...] = ("measured", "specified", "presilicon", "fitted", "inherited", "assumed")


@dataclass(frozen=True)
class Figure:
    """A constant of a chip.

    Attributes:
        low, nominal, high: the band, in ``unit``.
        unit: an SI unit, or "1".
        origin: how it is known. ``measured`` on silicon, ``specified`` by the maker,
            ``presilicon`` simulated by the maker, ``fitted`` by us to a measurement,
            ``inherited`` from another chip, ``assumed``.
        source: where it can be read.
    """

    low: float
    nominal: float
    high: float
    unit: str
    origin: Origin
    source: str

    def __post_init__(self) -> None:
        if not self.low <= self.nominal <= self.high:
            raise ValueError(f"the band {self.low}..{self.high} does not hold {self.nominal}")

    def to_json(self) -> dict[str, Any]:
        """The figure as a JSON object with the attributes as keys."""
        return asdict(self)

    @staticmethod
    def from_table(name: str, table: Mapping[str, Any]) -> Figure:
        """Read a figure from a table of a target description.

        ``low`` and ``high`` may be left out: the figure is then a point.

        Raises:
            InputError: SL0604, a field is missing or wrong.

        >>> Figure.from_table("t", {"value": 3, "unit": "s", "origin": "measured", "source": "X"}).high
        3.0
        """
        try:
            nominal = float(table["value"])
            figure = Figure(
                float(table.get("low", nominal)),
                nominal,
                float(table.get("high", nominal)),
                str(table["unit"]),
                table["origin"],
                str(table["source"]),
            )
            if figure.origin not in ORIGINS or not figure.source:
                raise ValueError(f"origin must be one of {', '.join(ORIGINS)}, and source must be given")
        except (KeyError, ValueError, TypeError) as error:
            raise InputError.of("SL0604", name, f"is not a figure with its source: {error}") from error
        return figure
