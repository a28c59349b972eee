"""Which axes of a captured tensor are time and batch: two captures of other sizes tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import prod

from spikeloom.errors import InputError

Shape = tuple[int, ...]


class Lead(Enum):
    """What stands before a sample's own axes in a captured tensor."""

    TIME_BATCH = "T,B"
    BATCH_TIME = "B,T"
    FOLDED = "T*B"
    FOLDED_BATCH_FIRST = "B*T"
    NONE = ""

    @property
    def axes(self) -> int:
        """How many axes they are."""
        return {"T,B": 2, "B,T": 2, "T*B": 1, "B*T": 1, "": 0}[self.value]

    @property
    def outer(self) -> str:
        """Which of T and B comes first; a reshape cannot change it without mixing samples."""
        return self.value[:1]


@dataclass(frozen=True)
class Sizes:
    """The time steps and samples of one capture; primes, so that products stay apart."""

    steps: int
    batch: int


CAPTURES = (Sizes(5, 3), Sizes(7, 2))
"""Sizes of the two captures; a third of 1 step is never taken, since PyTorch treats 1 apart."""


@dataclass(frozen=True)
class InputShape:
    """The declared shape of a model's input: the letters T and B, and a sample's own axes.

    >>> InputShape.parse("T,B,2,34,34")
    InputShape(lead=<Lead.TIME_BATCH: 'T,B'>, sample=(2, 34, 34))
    """

    lead: Lead
    sample: Shape

    @staticmethod
    def parse(text: str) -> InputShape:
        """Read a shape as it stands on the command line.

        Raises:
            InputError: SL0901, it does not begin with T,B or B,T, or an axis is not a number.
        """
        parts = [part.strip() for part in text.split(",")]
        try:
            return InputShape(_two_axes(parts[:2]), tuple(_positive(part) for part in parts[2:]))
        except ValueError as error:
            raise InputError.of(
                "SL0901",
                "--input-shape",
                f"{text!r} is not a shape: {error}",
                wanted="T,B,2,34,34 or B,T,2,34,34",
            ) from error

    def concrete(self, sizes: Sizes) -> Shape:
        """The shape with numbers for the letters."""
        lead = (sizes.batch, sizes.steps) if self.lead is Lead.BATCH_TIME else (sizes.steps, sizes.batch)
        return (*lead, *self.sample)

    def __str__(self) -> str:
        return ",".join([self.lead.value, *map(str, self.sample)])


def _two_axes(letters: list[str]) -> Lead:
    lead = Lead(",".join(letters))
    if lead.axes != 2:
        raise ValueError("it does not begin with T and B")
    return lead


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError(f"an axis of {text}")
    return int(text)


def classify(first: Shape, second: Shape) -> tuple[Lead, Shape] | None:
    """Time and batch axes, and a sample's own shape, of a tensor seen in both captures.

    None if the axes are mixed in another way. Of a folded axis the shapes do not tell whether time
    or batch is the outer one: :data:`Lead.FOLDED` stands for both.

    >>> classify((15, 8, 4), (14, 8, 4))
    (<Lead.FOLDED: 'T*B'>, (8, 4))
    >>> classify((5, 24), (7, 16)) is None
    True
    """
    if first == second:
        return Lead.NONE, first
    for lead in (Lead.TIME_BATCH, Lead.BATCH_TIME, Lead.FOLDED):
        n = lead.axes
        heads = (_head(lead, sizes) for sizes in CAPTURES)
        if all(shape[:n] == head for shape, head in zip((first, second), heads, strict=True)):
            return (lead, first[n:]) if first[n:] == second[n:] else None
    return None


def _head(lead: Lead, sizes: Sizes) -> Shape:
    if lead is Lead.FOLDED:
        return (prod((sizes.steps, sizes.batch)),)
    return (sizes.steps, sizes.batch) if lead is Lead.TIME_BATCH else (sizes.batch, sizes.steps)
