"""What a value of a graph is: its shape, and the numbers that it may hold.

A value has no batch and no time axis. Its kind is one of

========== ======================================================================
spikes     0 or 1
levels     graded spikes, integers 0..k
sum        integer sums of spikes, lo..hi (a residual that adds spikes; attention)
current    integer weighted sums, lo..hi, in units of a weight's scale
index      which row of a table, 0..count-1: a token of a vocabulary
real       floating point
========== ======================================================================

An integer kind is a proof: no execution holds a number outside its interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Name = Literal["spikes", "levels", "sum", "current", "index", "real"]


@dataclass(frozen=True)
class Kind:
    """The numbers that a value may hold: a name and, for integers, an inclusive interval.

    >>> Kind("sum", 0, 3)
    sum(0,3)
    >>> SPIKES.hi
    1
    """

    name: Name
    lo: int | None = None
    hi: int | None = None

    def __post_init__(self) -> None:
        if self.name not in get_args(Name):
            raise ValueError(f"there is no kind {self.name!r}")
        if self.is_integer == (self.lo is None or self.hi is None):
            raise ValueError(f"kind {self.name} has the wrong interval ({self.lo}, {self.hi})")

    @property
    def is_integer(self) -> bool:
        """Whether the kind is one of the integer kinds."""
        return self.name != "real"

    @property
    def bounds(self) -> tuple[int, int]:
        """The interval (lo, hi).

        Raises:
            TypeError: the kind is real.
        """
        if self.lo is None or self.hi is None:
            raise TypeError("a real kind has no bounds")
        return self.lo, self.hi

    def __repr__(self) -> str:
        if self.name in ("spikes", "real"):
            return self.name
        if self.name == "index":
            return f"index({self.bounds[1] + 1})"
        return f"levels({self.hi})" if self.name == "levels" else f"{self.name}({self.lo},{self.hi})"


SPIKES = Kind("spikes", 0, 1)
REAL = Kind("real")


def levels(k: int) -> Kind:
    """The kind of graded spikes 0..k; with k = 1 these are plain spikes.

    >>> levels(4), levels(1)
    (levels(4), spikes)
    """
    return SPIKES if k == 1 else Kind("levels", 0, k)


def sums(lo: int, hi: int) -> Kind:
    """The kind of integer sums of spikes within lo..hi."""
    return Kind("sum", lo, hi)


def current(lo: int, hi: int) -> Kind:
    """The kind of integer weighted sums within lo..hi."""
    return Kind("current", lo, hi)


def index(count: int) -> Kind:
    """The kind of a choice among so many, such as a token of a vocabulary: 0..count-1.

    >>> index(50277), index(50277).bounds
    (index(50277), (0, 50276))
    """
    return Kind("index", 0, count - 1)


def holding(kind: Kind, number: int) -> Kind:
    """The narrowest kind that holds the numbers of a kind and one more.

    >>> holding(SPIKES, 0), holding(SPIKES, 3), holding(current(2, 5), 0), holding(REAL, 7)
    (spikes, levels(3), current(0,5), real)
    """
    if not kind.is_integer:
        return REAL
    low, high = min(kind.bounds[0], number), max(kind.bounds[1], number)
    if kind.name in ("sum", "current"):
        return Kind(kind.name, low, high)
    return levels(high) if low == 0 else sums(low, high)


def spike_dtype(kind: Kind) -> type[np.uint8] | type[np.int8]:
    """How the spikes of a layer are kept: in bytes, with a sign where spikes may be negative.

    >>> spike_dtype(SPIKES).__name__, spike_dtype(sums(-1, 1)).__name__
    ('uint8', 'int8')
    """
    return np.int8 if kind.bounds[0] < 0 else np.uint8


FrameType = type[np.uint8] | type[np.uint16] | type[np.uint32]


def frame_dtype(kind: Kind) -> FrameType:
    """In what the frames of an input are kept: bytes, but for indices that need two of them, or four.

    >>> [frame_dtype(kind).__name__ for kind in (SPIKES, index(256), index(50277), index(152064))]
    ['uint8', 'uint8', 'uint16', 'uint32']
    """
    high = kind.bounds[1]
    return np.uint8 if high < 2**8 else np.uint16 if high < 2**16 else np.uint32


@dataclass(frozen=True)
class Type:
    """The type of a value: its shape without batch and time, and its kind.

    >>> Type((2, 34, 34), SPIKES)
    spikes[2,34,34]
    """

    shape: tuple[int, ...]
    kind: Kind

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def __repr__(self) -> str:
        return f"{self.kind}[{','.join(map(str, self.shape))}]"
