"""Twins along one axis of a population, and which groups of them need as much as each other.

The indices of an axis that reach the same targets form a run. Runs are of one kind if a shift takes one to
the other: they are as long, reach as many targets, and what these targets and the run itself read meets
borders alike. A population of a million neurons has a few kinds along each axis.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Range
from spikeloom.compiler.mapping.network import Network, Population, Projection, SourceAxis

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """Runs of one kind along an axis.

    Attributes:
        place: the indices of the first.
        count: how many there are.
    """

    place: Range
    count: int


def runs_of(network: Network, population: Population, axis: int) -> list[Run]:
    """The kinds of runs along an axis of a population.

    >>> from spikeloom.compiler.mapping.network import Kernel, KernelAxis
    >>> row = SourceAxis(6, 0, taps=3, offset=-1)
    >>> blur = Projection("a", "b", "conv", ((row,),), ((6,),), "k", (KernelAxis(3, source=0),))
    >>> ends = tuple(Population(name, (6,), "neuron", (0, 1)) for name in "ab")
    >>> network = Network("row", ends, (blur,), (Kernel("k", (3,), 8, 3),), ("b",))
    >>> [(run.place, run.count) for run in runs_of(network, ends[0], 0)]
    [((0, 1), 1), ((1, 2), 1), ((2, 3), 2), ((4, 5), 1), ((5, 6), 1)]
    """
    along = [network.projections[number] for number in network.out_of(population.name)]
    extent = population.shape[axis]
    found = [_labels(one.source_axes[axis], one.target_sizes) for one in along]
    labels = np.concatenate([np.zeros((1, extent), np.int64), *(part for part, _ in found)])
    counts = np.concatenate([np.zeros((1, extent), np.int64), *(part for _, part in found)])
    starts = np.flatnonzero(np.concatenate([[True], (labels[:, 1:] != labels[:, :-1]).any(0)]))
    stops = np.append(starts[1:], extent)
    if len(starts) == 1:
        return [Run((0, extent), 1)]
    kinds: dict[Hashable, list[Range]] = {}
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        borders = (
            *_own_borders(network, population, axis, (start, stop)),
            *_readers_borders(network, along, axis, start),
        )
        kinds.setdefault((counts[:, start].tobytes(), stop - start, borders), []).append((start, stop))
    return [Run(alike[0], len(alike)) for alike in kinds.values()]


def _own_borders(network: Network, population: Population, axis: int, run: Range) -> Iterator[Hashable]:
    """What the neurons of a run read of the windows along their axis."""
    for number in network.into(population.name):
        projection = network.projections[number]
        if len(projection.target_grid[axis]) > 1 and run[1] - run[0] > 1:
            yield run  # how the finer axes cut it is not looked at
        for index in range(*run):
            yield _taps(projection, axis, index)


def _readers_borders(
    network: Network, along: Iterable[Projection], axis: int, index: int
) -> Iterator[Hashable]:
    """What the readers of an index read of the windows along their axes, and how far these are apart."""
    first: int | None = None
    for one in along:
        sizes = tuple(finer.size for finer in one.source_axes[axis])
        for finer, place in zip(one.source_axes[axis], np.unravel_index(index, sizes), strict=True):
            targets = targets_of(finer, one.target_sizes)[place].tolist()
            if finer.target is None or not targets:
                continue
            first = targets[0] if first is None else first
            for number in network.into(one.target):
                yield _readers_taps(network.projections[number], one, finer.target, targets, index, first)


def _readers_taps(
    into: Projection, one: Projection, followed: int, targets: list[int], index: int, first: int
) -> Hashable:
    """The taps of a projection at the targets that another reaches along an axis."""
    coarse, within = _place(one, followed)
    start = sum(len(group) for group in into.target_grid[:coarse])
    own = range(start, start + len(into.target_grid[coarse]))
    moves = any(axis.target in own for axis in into.kernel_axes)
    if into.target_grid[coarse] == one.target_grid[coarse]:
        axes = [axis for axis in into.axes if axis.target == start + within]
        taps = tuple(axis.taps_used(target, target + 1) for axis in axes for target in targets)
        return (taps, targets[0] - first) if moves else taps
    plain = all(axis.is_identity and not axis.offset for axis in into.axes if axis.target in own)
    return () if plain and not moves else index


def _place(projection: Projection, finer: int) -> tuple[int, int]:
    """The axis of the target that a finer axis is part of, and which of its parts."""
    for coarse, sizes in enumerate(projection.target_grid):
        if finer < len(sizes):
            return coarse, finer
        finer -= len(sizes)
    raise IndexError(finer)


def _taps(projection: Projection, axis: int, index: int) -> Hashable:
    """The taps that an index of an axis of the target uses along its finer axes."""
    start = sum(len(group) for group in projection.target_grid[:axis])
    places = np.unravel_index(index, projection.target_grid[axis])
    at = {start + number: int(place) for number, place in enumerate(places)}
    return tuple(
        one.taps_used(at[one.target], at[one.target] + 1) for one in projection.axes if one.target in at
    )


@lru_cache(maxsize=1024)
def _labels(group: tuple[SourceAxis, ...], sizes: tuple[int, ...]) -> tuple[Indices, Indices]:
    """For each finer axis, a label of what an index of the coarse axis reaches along it, and how many."""
    indices = np.indices(tuple(axis.size for axis in group)).reshape(len(group), -1)
    labels, counts = np.zeros_like(indices), np.zeros_like(indices)
    for row, (axis, finer) in enumerate(zip(group, indices, strict=True)):
        reached = targets_of(axis, sizes)
        known: dict[bytes, int] = {}
        each = [known.setdefault(targets.tobytes(), len(known)) for targets in reached]
        labels[row], counts[row] = np.array(each)[finer], np.array([len(one) for one in reached])[finer]
    return labels, counts


@lru_cache(maxsize=1024)
def targets_of(axis: SourceAxis, sizes: tuple[int, ...]) -> list[Indices]:
    """For each source index of an axis, the target indices that it reaches.

    >>> [found.tolist() for found in targets_of(SourceAxis(3, 0, taps=2, offset=-1), (3,))]
    [[0, 1], [1, 2], [2]]
    """
    count = 1 if axis.target is None else sizes[axis.target]
    target, tap = (part.ravel() for part in np.indices((count, axis.taps)))
    source = target * (axis.stride if axis.target is not None else 0) + tap * axis.dilation + axis.offset
    inside = (source >= 0) & (source < axis.size)
    order = np.lexsort((target[inside], source[inside]))
    ends = np.searchsorted(source[inside][order], np.arange(1, axis.size))
    return np.split(target[inside][order], ends)
