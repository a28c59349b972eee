"""Which axes of a captured tensor are time and batch: two captures of other sizes tell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from spikeloom.errors import InputError

Shape = tuple[int, ...]
OWN = ""
"""The tag of an axis that is a sample's own."""


class NoCounterpartError(Exception):
    """A rule cannot express a call; the text says why."""


class Lead(Enum):
    """What stands before a sample's own axes in a captured tensor."""

    TIME_BATCH = "T,B"
    BATCH_TIME = "B,T"
    FOLDED = "T*B"
    FOLDED_BATCH_FIRST = "B*T"
    BATCH = "B"
    NONE = ""
    SPREAD = "B..T"
    """Time and samples stand between or behind a sample's own axes, as in [B, channels, T]."""

    @property
    def axes(self) -> int:
        """How many axes they are.

        Raises:
            NoCounterpartError: they do not stand in front.
        """
        if self is Lead.SPREAD:
            raise NoCounterpartError("time and samples are not its first axes")
        return len(self.tags)

    @property
    def tags(self) -> tuple[str, ...]:
        """What each of these axes is; the two of a folded one, the outer first."""
        return () if self is Lead.NONE else tuple(self.value.split(","))

    @property
    def has_time(self) -> bool:
        """Whether time is among them."""
        return "T" in self.value

    @property
    def outer(self) -> str:
        """Which of T and B comes first; a reshape cannot change it without mixing samples."""
        return self.value[:1]


@dataclass(frozen=True)
class Sizes:
    """The time steps and samples of one capture; primes, so that products stay apart.

    A model whose input has no time repeats it inside, by its own number of steps: until that repeat
    is seen there is one step.
    """

    steps: int
    batch: int

    def longer(self, overtime: int) -> Sizes:
        """The same samples with more time steps."""
        return replace(self, steps=self.steps + overtime)

    def head(self, lead: Lead) -> Shape:
        """The sizes of these axes."""
        return {
            Lead.TIME_BATCH: (self.steps, self.batch),
            Lead.BATCH_TIME: (self.batch, self.steps),
            Lead.FOLDED: (self.steps * self.batch,),
            Lead.FOLDED_BATCH_FIRST: (self.steps * self.batch,),
            Lead.BATCH: (self.batch,),
            Lead.NONE: (),
        }[lead]


Captures = tuple[Sizes, Sizes]

CAPTURES: Captures = (Sizes(5, 3), Sizes(7, 2))
"""Sizes of the two captures; a third of 1 step is never taken, since PyTorch treats 1 apart."""


@dataclass(frozen=True)
class InputShape:
    """The declared shape of a model's input: the letters T and B, and a sample's own axes.

    Without a T the model takes one frame a sample; it may repeat it over time inside.

    Attributes:
        lead, sample: time and batch axes, and a sample's own.
        one_step: whether the model takes its time steps one call after the other, each [B, ...].
        loops: whether the model loops over its time steps in Python.

    >>> InputShape.parse("T,B,2,34,34")
    InputShape(lead=<Lead.TIME_BATCH: 'T,B'>, sample=(2, 34, 34))
    >>> InputShape.parse("B,3,224,224").lead
    <Lead.BATCH: 'B'>
    """

    lead: Lead
    sample: Shape
    one_step: bool = field(default=False, repr=False)
    loops: bool = field(default=False, repr=False)

    @property
    def given(self) -> Lead:
        """The time and batch axes of what one call of the model takes."""
        return Lead.BATCH if self.one_step else self.lead

    @staticmethod
    def parse(text: str) -> InputShape:
        """Read a shape as it stands on the command line.

        Raises:
            InputError: SL0901, it does not begin with T,B or B,T or B, or an axis is not a number.
        """
        parts = [part.strip() for part in text.split(",")]
        letters = [part for part in parts if part.isalpha()]
        try:
            lead = _declared(",".join(letters))
            return InputShape(lead, tuple(_positive(part) for part in parts[len(letters) :]))
        except ValueError as error:
            raise InputError.of(
                "SL0901",
                "--input-shape",
                f"{text!r} is not a shape: {error}",
                wanted="T,B,2,34,34 or B,T,2,34,34 or B,3,224,224",
            ) from error

    def concrete(self, sizes: Sizes) -> Shape:
        """The shape with numbers for the letters."""
        return (*sizes.head(self.given), *self.sample)

    def __str__(self) -> str:
        return ",".join([self.lead.value, *map(str, self.sample)])


def captures(shape: InputShape) -> Captures:
    """The sizes of the two captures of a model with such an input; of one turn, if it loops over time."""
    first, second = CAPTURES
    return (
        CAPTURES
        if shape.given.has_time and not shape.loops
        else (Sizes(1, first.batch), Sizes(1, second.batch))
    )


def _declared(letters: str) -> Lead:
    known = {lead.value: lead for lead in (Lead.TIME_BATCH, Lead.BATCH_TIME, Lead.BATCH)}
    if letters not in known:
        raise ValueError(f"it begins with {letters}" if letters else "no letter says which axis is the batch")
    return known[letters]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is no size of an axis")
    return int(text)


def classify(
    first: Shape, second: Shape, sizes: Captures = CAPTURES, has_time: bool = True
) -> tuple[Lead, Shape] | None:
    """Time and batch axes, and a sample's own shape, of a tensor seen in both captures.

    None if the axes are mixed in another way. Of a folded axis the shapes do not tell whether time
    or batch is the outer one: :data:`Lead.FOLDED` stands for both. Where the model has a fixed number
    of steps, shapes alone cannot tell [B, T, ...] from [B, channels, ...].

    Args:
        first: shape in the first capture.
        second: shape in the second.
        sizes: of the two captures.
        has_time: whether an operand has a time axis.

    >>> classify((15, 8, 4), (14, 8, 4))
    (<Lead.FOLDED: 'T*B'>, (8, 4))
    >>> classify((5, 24), (7, 16)) is None
    True
    >>> classify((3, 4, 9), (2, 4, 9), (Sizes(4, 3), Sizes(4, 2)), has_time=False)
    (<Lead.BATCH: 'B'>, (4, 9))
    """
    if first == second:
        return Lead.NONE, first
    timed = (Lead.TIME_BATCH, Lead.BATCH_TIME, Lead.FOLDED, Lead.BATCH)
    for lead in timed if has_time else (Lead.TIME_BATCH, Lead.BATCH):
        n = lead.axes
        heads = (size.head(lead) for size in sizes)
        if all(shape[:n] == head for shape, head in zip((first, second), heads, strict=True)):
            return (lead, first[n:]) if first[n:] == second[n:] else None
    return None
