"""What boxes have in common, in parts that lie in the same boxes throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Atoms:
    """Disjoint sets of indices; all indices of one lie in the boxes of the same members.

    Attributes:
        sizes: of every atom.
        holder: of every atom, the one whose box holds it; -1 without holders.
        atom, member: pairs; the atom lies in a box of the member.
    """

    sizes: Counts
    holder: Counts
    atom: Counts
    member: Counts


def atoms_of(boxes: Sequence[tuple[int, Box]], holders: Sequence[tuple[int, Box]] = ()) -> Atoms:
    """Atoms of the boxes of some members, and of those of holders if there are any.

    Axes are cut wherever a box begins or ends; every member adds a number of its own to the cells in its
    boxes, and cells of one sum are one atom. Sums of random 64-bit numbers that meet by chance are not
    looked for.

    Args:
        boxes: members with their boxes; those of one member do not overlap.
        holders: with boxes that do not overlap; what lies in none of them is left out.

    >>> found = atoms_of([(0, Box(((0, 4),))), (1, Box(((2, 6),)))])
    >>> sorted(zip(found.sizes[found.atom].tolist(), found.member.tolist()))
    [(2, 0), (2, 0), (2, 1), (2, 1)]
    """
    first = boxes[0][1]
    if not holders and all(box == first for _, box in boxes):
        return _one_atom(first.size, [member for member, _ in boxes])
    ranges = _array([box for _, box in (*boxes, *holders)])
    edges = [np.unique(ranges[:, axis]) for axis in range(ranges.shape[1])]
    places = np.stack([np.searchsorted(cut, ranges[:, axis]) for axis, cut in enumerate(edges)], 1)
    windows = [tuple(slice(low, high) for low, high in spans) for spans in places.tolist()]
    shape = tuple(len(cut) - 1 for cut in edges)
    own = [member for member, _ in boxes]
    sums = np.zeros(shape, np.uint64)
    salts = _salts(max(own) + 1)
    for number, window in zip(own, windows[: len(boxes)], strict=True):
        sums[window] ^= salts[number]
    holder = np.full(shape, -1, np.int64)
    for (number, _), window in zip(holders, windows[len(boxes) :], strict=True):
        holder[window] = number
    inside = (sums != 0) & ((holder >= 0) if holders else True)
    atom_at, sizes, of = _numbered(sums, holder, inside, edges)
    atom, member = _members(atom_at, own, windows[: len(boxes)])
    return Atoms(sizes, of, atom, member)


def _one_atom(size: int, members: Sequence[int]) -> Atoms:
    """What boxes that are all the same have in common."""
    own = np.unique(np.array(members, np.int64))
    return Atoms(np.array([size], np.int64), np.full(1, -1, np.int64), np.zeros(len(own), np.int64), own)


def _numbered(
    sums: NDArray[np.uint64], holder: Counts, inside: NDArray[np.bool_], edges: Sequence[Counts]
) -> tuple[Counts, Counts, Counts]:
    """The atom of every cell, or -1; the size and the holder of every atom."""
    order = np.flatnonzero(inside)
    keys = np.stack([holder.ravel()[order], sums.ravel()[order].view(np.int64)], 1)
    sort = np.lexsort((keys[:, 1], keys[:, 0]))
    keys = keys[sort]
    new = np.ones(len(keys), np.bool_)
    new[1:] = (keys[1:] != keys[:-1]).any(1)
    number = np.cumsum(new) - 1
    atom_at = np.full(inside.size, -1, np.int64)
    atom_at[order[sort]] = number
    volume = np.ones(1, np.int64)
    for cut in edges:
        volume = np.multiply.outer(volume, np.diff(cut))
    sizes = np.bincount(number, volume.ravel()[order[sort]]).astype(np.int64)
    return atom_at.reshape(inside.shape), sizes, keys[new, 0]


def _members(
    atom_at: Counts, own: Sequence[int], windows: Sequence[tuple[slice, ...]]
) -> tuple[Counts, Counts]:
    """Pairs of an atom and a member in whose boxes it lies."""
    atoms: list[Counts] = []
    members: list[Counts] = []
    for member, window in zip(own, windows, strict=True):
        found = np.unique(atom_at[window])
        found = found[found >= 0]
        atoms.append(found)
        members.append(np.full(len(found), member, np.int64))
    pairs = np.unique(np.stack([np.concatenate(atoms), np.concatenate(members)], 1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _array(boxes: Sequence[Box]) -> Counts:
    """[boxes, axes, 2]: begin and end; what has no axes has one of one index."""
    return np.array([box.ranges or ((0, 1),) for box in boxes], np.int64)


def _salts(count: int) -> NDArray[np.uint64]:
    return np.random.default_rng(0).integers(1, 2**64 - 1, count, np.uint64)
