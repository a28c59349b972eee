"""The order in which the axes of a value lie in memory.

A convolution is fastest with the channels last, the graph counts them first. A transposition of
the graph therefore moves nothing: it changes the *order* of a value, where ``order[i]`` is the axis
of the graph's shape that lies at place i in memory (after the batch). Only an operation that
insists on an order makes the emitter write a ``Transpose``.
"""

from __future__ import annotations

from math import prod

Order = tuple[int, ...]
Shape = tuple[int, ...]


def plain(rank: int) -> Order:
    """The order of the graph itself."""
    return tuple(range(rank))


def arrange(shape: Shape, order: Order) -> Shape:
    """The shape in memory.

    >>> arrange((3, 8, 9), (1, 2, 0))
    (8, 9, 3)
    """
    return tuple(shape[axis] for axis in order)


def permutation(old: Order, new: Order) -> tuple[int, ...]:
    """Which places of the old order make the new one, as ``Transpose`` wants it.

    >>> permutation((1, 2, 0), (0, 1, 2))
    (2, 0, 1)
    """
    return tuple(old.index(axis) for axis in new)


def without(order: Order, removed: tuple[int, ...]) -> Order:
    """The order of a value whose axes ``removed`` were summed away.

    >>> without((1, 2, 0), (1,))
    (1, 0)
    """
    kept = [axis for axis in sorted(order) if axis not in removed]
    return tuple(kept.index(axis) for axis in order if axis in kept)


def blocks(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """The smallest groups of axes that a reshape turns into each other, in order.

    >>> blocks((12, 5), (3, 4, 5))
    [([0], [0, 1]), ([1], [2])]
    """
    groups: list[tuple[list[int], list[int]]] = []
    before: list[int] = []
    after: list[int] = []
    for _ in range(len(old) + len(new)):
        i, j = (sum(len(group[side]) for group in [*groups, (before, after)]) for side in (0, 1))
        behind = prod(arrange(old, tuple(before))) <= prod(arrange(new, tuple(after)))
        if j == len(new) or (i < len(old) and behind):
            before.append(i)
        else:
            after.append(j)
        if before and after and prod(arrange(old, tuple(before))) == prod(arrange(new, tuple(after))):
            groups.append((before, after))
            before, after = [], []
    if groups:  # axes of length one at the end join the last group
        groups[-1] = (groups[-1][0] + before, groups[-1][1] + after)
    elif before or after:
        groups.append((before, after))
    return groups


def reshaped(old: Shape, order: Order, new: Shape) -> tuple[Order, Order]:
    """The order to bring a value into before it is reshaped, and the order of the result.

    Axes that the reshape joins or cuts must lie together; the rest stays where it is.

    >>> reshaped((12, 5), (1, 0), (3, 4, 5))
    ((1, 0), (2, 0, 1))
    >>> reshaped((3, 4, 5), (0, 2, 1), (12, 5))
    ((2, 0, 1), (1, 0))
    """

    def last_place(group: tuple[list[int], list[int]]) -> int:
        return max((order.index(axis) for axis in group[0]), default=-1)

    groups = sorted(blocks(old, new), key=last_place)
    needed = tuple(axis for before, _ in groups for axis in before)
    return needed, tuple(axis for _, after in groups for axis in after)
