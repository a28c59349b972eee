"""Reshapes that fold time or samples with other axes: which axes each of the new ones is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spikeloom.compiler.frontends.torch.axes import OWN, Shape


@dataclass(frozen=True)
class Axis:
    """An axis of a tensor before it is folded.

    Attributes:
        tag: T, B or :data:`~spikeloom.compiler.frontends.torch.axes.OWN`.
        sizes: in the two captures; those of time and samples are never 1.
    """

    tag: str
    sizes: tuple[int, int]

    @property
    def is_own(self) -> bool:
        """Whether it is a sample's own."""
        return self.tag == OWN


Groups = list[list[Axis]]


def regrouped(axes: Sequence[Axis], shapes: tuple[Shape, Shape]) -> Groups | None:
    """Which axes, the outer first, each axis of a reshaped tensor is made of.

    A reshape keeps the order of elements. Axes that are a sample's own are cut where the new shape
    wants it, and those that come together are one. None where the new shape cuts through time or
    samples in one of the two captures: then only the order is known, which a later reshape may need.

    Args:
        axes: of the tensor, the outermost first.
        shapes: of the reshaped tensor in the two captures.

    >>> samples, time, tokens = Axis("B", (3, 2)), Axis("T", (5, 7)), Axis("", (8, 8))
    >>> [[a.tag or a.sizes[0] for a in group] for group in regrouped(
    ...     [samples, tokens, time], ((24, 5), (16, 7)))]
    [['B', 8], ['T']]
    >>> [[a.tag or a.sizes[0] for a in group] for group in regrouped(
    ...     [samples, time, tokens], ((3, 20, 2), (2, 28, 2)))]
    [['B'], ['T', 4], [2]]
    >>> regrouped([samples, time, tokens], ((4, 30), (4, 28))) is None
    True
    """
    left = [axis for axis in axes if axis.sizes != (1, 1)]
    groups = []
    for wanted in zip(*shapes, strict=True):
        group = _taken(left, wanted)
        if group is None:
            return None
        groups.append(group)
    return groups


def _taken(left: list[Axis], wanted: tuple[int, int]) -> list[Axis] | None:
    """The next axes that make one of this size, removed from what is left; an axis of 1 is made of itself."""
    group: list[Axis] = []
    while wanted != (1, 1):
        if not left:
            return None
        axis = left.pop(0)
        if all(want % size == 0 for want, size in zip(wanted, axis.sizes, strict=True)):
            wanted = (wanted[0] // axis.sizes[0], wanted[1] // axis.sizes[1])
        elif axis.is_own and wanted[0] == wanted[1] and axis.sizes[0] % wanted[0] == 0:
            rest = axis.sizes[0] // wanted[0]
            left.insert(0, Axis(OWN, (rest, rest)))
            axis, wanted = Axis(OWN, wanted), (1, 1)
        else:
            return None
        _join(group, axis)
    return group or [Axis(OWN, (1, 1))]


def _join(group: list[Axis], axis: Axis) -> None:
    """Add an axis to those that make one; two of a sample's own become one."""
    if group and group[-1].is_own and axis.is_own:
        size = group[-1].sizes[0] * axis.sizes[0]
        group[-1] = Axis(OWN, (size, size))
    else:
        group.append(axis)
