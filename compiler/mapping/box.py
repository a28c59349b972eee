"""Boxes: blocks of neurons of a population, one range of indices an axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

Range = tuple[int, int]
Grid = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Box:
    """All indices with start <= index < stop on every axis.

    Attributes:
        ranges: (start, stop) of each axis; never empty.

    >>> Box(((0, 2), (3, 6))).size
    6
    """

    ranges: tuple[Range, ...]

    @staticmethod
    def whole(shape: Sequence[int]) -> Box:
        """Everything of an array of that shape."""
        return Box(tuple((0, size) for size in shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of each axis."""
        return tuple(stop - start for start, stop in self.ranges)

    @property
    def size(self) -> int:
        """Number of indices."""
        return prod(stop - start for start, stop in self.ranges)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The box as an index into a NumPy array."""
        return tuple(slice(start, stop) for start, stop in self.ranges)

    def overlap(self, other: Box) -> Box | None:
        """The indices that lie in both, or None.

        >>> Box(((0, 4),)).overlap(Box(((3, 9),)))
        Box(ranges=((3, 4),))
        """
        ranges = tuple(
            (max(a, c), min(b, d)) for (a, b), (c, d) in zip(self.ranges, other.ranges, strict=True)
        )
        return Box(ranges) if all(start < stop for start, stop in ranges) else None

    def without(self, other: Box) -> list[Box]:
        """The indices that do not lie in ``other``, as disjoint boxes.

        >>> [box.ranges for box in Box(((0, 4), (0, 2))).without(Box(((1, 9), (0, 1))))]
        [((0, 1), (0, 2)), ((1, 4), (1, 2))]
        """
        shared = self.overlap(other)
        if shared is None:
            return [self]
        rest = []
        ranges = list(self.ranges)
        for axis, (start, stop) in enumerate(shared.ranges):
            low, high = ranges[axis]
            for piece in ((low, start), (stop, high)):
                if piece[0] < piece[1]:
                    rest.append(Box((*ranges[:axis], piece, *ranges[axis + 1 :])))
            ranges[axis] = (start, stop)
        return rest


def disjoint(boxes: Iterable[Box]) -> tuple[Box, ...]:
    """The union of boxes as boxes that do not overlap.

    >>> sum(box.size for box in disjoint([Box(((0, 4),)), Box(((2, 6),)), Box(((2, 6),))]))
    6
    """
    kept: list[Box] = []
    for box in dict.fromkeys(boxes):
        pieces = [box]
        for known in kept:
            pieces = [rest for piece in pieces for rest in piece.without(known)]
        kept += pieces
    return tuple(kept)


def union_size(boxes: Iterable[Box]) -> int:
    """How many indices lie in any of the boxes."""
    return sum(box.size for box in disjoint(boxes))


def refine(box: Box, grid: Grid) -> tuple[Box, ...]:
    """A box over axes as disjoint boxes over finer axes.

    Axis i of the box has prod(grid[i]) indices and is read as grid[i] in row-major order, so that a
    range may need several boxes: rows 1..2 and a half of an image are one box of whole rows and
    one of a part of a row.

    >>> [piece.ranges for piece in refine(Box(((2, 9),)), ((3, 4),))]
    [((0, 1), (2, 4)), ((1, 2), (0, 4)), ((2, 3), (0, 1))]
    """
    choices = [_cut(start, stop, sizes) for (start, stop), sizes in zip(box.ranges, grid, strict=True)]
    return tuple(Box(tuple(r for part in parts for r in part)) for parts in product(*choices))


def _cut(start: int, stop: int, sizes: tuple[int, ...]) -> list[tuple[Range, ...]]:
    if not sizes:
        return [()]
    if len(sizes) == 1:
        return [((start, stop),)]
    inner = prod(sizes[1:])
    first, last = start // inner, (stop - 1) // inner
    if first == last and stop - start < inner:
        offset = first * inner
        return [((first, first + 1), *rest) for rest in _cut(start - offset, stop - offset, sizes[1:])]
    whole_from, whole_to = -(-start // inner), stop // inner
    pieces: list[tuple[Range, ...]] = []
    if start < whole_from * inner:
        pieces += _cut(start, whole_from * inner, sizes)
    if whole_from < whole_to:
        pieces.append(((whole_from, whole_to), *((0, size) for size in sizes[1:])))
    if whole_to * inner < stop:
        pieces += _cut(whole_to * inner, stop, sizes)
    return pieces


def coarsen(box: Box, grid: Grid) -> tuple[Box, ...]:
    """A box over finer axes as disjoint boxes over the axes that they refine; the inverse of :func:`refine`.

    >>> [box.ranges for box in coarsen(Box(((1, 3), (0, 4))), ((3, 4),))]
    [((4, 12),)]
    >>> [box.ranges for box in coarsen(Box(((0, 2), (1, 2))), ((3, 4),))]
    [((1, 2),), ((5, 6),)]
    """
    choices = []
    first = 0
    for sizes in grid:
        choices.append(_joined(box.ranges[first : first + len(sizes)], sizes))
        first += len(sizes)
    return tuple(Box(ranges) for ranges in product(*choices))


def _joined(ranges: tuple[Range, ...], sizes: tuple[int, ...]) -> list[Range]:
    if not sizes:
        return [(0, 1)]
    if len(sizes) == 1:
        return [ranges[0]]
    inner = prod(sizes[1:])
    parts = _joined(ranges[1:], sizes[1:])
    start, stop = ranges[0]
    if parts == [(0, inner)]:
        return [(start * inner, stop * inner)]
    return [
        (outer * inner + low, outer * inner + high) for outer in range(start, stop) for low, high in parts
    ]
