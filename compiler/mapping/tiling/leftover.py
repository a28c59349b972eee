"""Boxes of a population that have no core yet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box


class Leftover:
    """Disjoint boxes, looked up by place.

    >>> left = Leftover([Box(((0, 4),)), Box(((4, 8),))])
    >>> left.take(Box(((5, 6),)))
    True
    >>> [box.ranges for box in left.boxes()]
    [((0, 4),), ((4, 5),), ((6, 8),)]
    >>> [box.ranges for box in left.parts_in(Box(((3, 7),)))]
    [((3, 4),), ((4, 5),), ((6, 7),)]
    """

    def __init__(self, boxes: Sequence[Box]) -> None:
        self._boxes: list[Box | None] = []
        self._ranges: NDArray[np.int64] = np.zeros((max(len(boxes), 1), len(boxes[0].ranges), 2), np.int64)
        for box in boxes:
            self._add(box)

    def boxes(self) -> list[Box]:
        """What is left."""
        return [box for box in self._boxes if box is not None]

    def parts_in(self, place: Box) -> list[Box]:
        """What is left of a box."""
        known = self._ranges[: len(self._boxes)]
        wanted = np.array(place.ranges, np.int64)
        shared = np.minimum(known[:, :, 1], wanted[:, 1]) > np.maximum(known[:, :, 0], wanted[:, 0])
        found = (self._boxes[number] for number in np.flatnonzero(shared.all(1)))
        parts = (box.overlap(place) for box in found if box is not None)
        return [part for part in parts if part is not None]

    def take(self, piece: Box) -> bool:
        """Take a box out, if it is in one of those that are left."""
        known = self._ranges[: len(self._boxes)]
        wanted = np.array(piece.ranges, np.int64)
        holds = (known[:, :, 0] <= wanted[:, 0]) & (known[:, :, 1] >= wanted[:, 1])
        for number in np.flatnonzero(holds.all(1)).tolist():
            holder = self._boxes[number]
            assert holder is not None
            self._boxes[number] = None
            self._ranges[number] = 0, -1
            for rest in holder.without(piece):
                self._add(rest)
            return True
        return False

    def _add(self, box: Box) -> None:
        if len(self._boxes) == len(self._ranges):
            self._ranges = np.concatenate([self._ranges, np.zeros_like(self._ranges)])
        self._ranges[len(self._boxes)] = box.ranges
        self._boxes.append(box)
