"""Execution of a mapping: every spike of a step goes to cores, and there to synapses.

It judges mappings, so it shares no code with the mapper: cores learn from their tiles, index by index,
which neurons they must hear; the routing table under test says where a spike is sent.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.network import Population, Projection, SourceAxis
from spikeloom.compiler.mapping.placement import Mapping, Tile

Mask = NDArray[np.bool_]
Table = MappingOf[int, tuple[Box, ...]]


@dataclass(frozen=True)
class Delivery:
    """What became of the spikes of some steps.

    Attributes:
        spikes: that were sent.
        messages: spikes times the cores that each was sent to, other than its own.
        missed: pairs of a spike and a core that needed it and did not get it.
        doubled: pairs of a spike and a core that got it more than once.
        needless: pairs of a spike and a core that got it and has no synapse for it.
    """

    spikes: int
    messages: int
    missed: int
    doubled: int
    needless: int

    @property
    def exact(self) -> bool:
        """Whether every spike reached each core that needs it exactly once."""
        return not self.missed and not self.doubled


def deliver(mapping: Mapping, tables: MappingOf[str, Table], spikes: MappingOf[str, Mask]) -> Delivery:
    """Send spikes through a routing table and count what arrives.

    Args:
        mapping: tiles on cores.
        tables: for each population and core, the neurons whose spikes go there.
        spikes: which neurons of each population fire, in its shape.
    """
    counts = np.zeros(5, np.int64)
    for population in mapping.network.populations:
        fired = spikes[population.name]
        counts[0] += int(fired.sum())
        owner = mapping.cores_of(population.name)
        needed = _needs(mapping, population)
        table = tables.get(population.name, {})
        for core in sorted(needed.keys() | table.keys()):
            sent = np.zeros(population.shape, np.int64)
            for box in table.get(core, ()):
                sent[box.slices] += 1
            heard = needed.get(core, np.zeros(population.shape, bool))
            counts[1:] += (
                int((sent[fired & (owner != core)] > 0).sum()),
                int((heard & fired & (sent == 0)).sum()),
                int((fired & (sent > 1)).sum()),
                int((~heard & fired & (sent > 0)).sum()),
            )
    return Delivery(*counts.tolist())


def _needs(mapping: Mapping, population: Population) -> dict[int, Mask]:
    """For each core, the neurons of a population that have a synapse there."""
    needed: dict[int, Mask] = {}
    for number in mapping.network.out_of(population.name):
        projection = mapping.network.projections[number]
        for tile in mapping.tiles:
            if tile.population == projection.target:
                heard = needed.setdefault(tile.core, np.zeros(population.shape, bool))
                heard |= _heard(projection, tile).reshape(population.shape)
    return needed


def _heard(projection: Projection, tile: Tile) -> Mask:
    """The source neurons, on the finer axes, that have a synapse onto a tile.

    Finer target axes that come from one axis of the tile are cut together, so that all their
    combinations are listed; axes of different origin are independent.
    """
    grids = projection.target_grid
    groups: list[tuple[tuple[int, ...], NDArray[np.int64]]] = []
    first = 0
    for (start, stop), sizes in zip(tile.box.ranges, grids, strict=True):
        axes = tuple(range(first, first + len(sizes)))
        groups.append((axes, np.stack(np.unravel_index(np.arange(start, stop), sizes or (1,)))))
        first += len(sizes)
    shape = [axis.size for axis in projection.axes]
    heard = np.ones(shape, bool)
    for axes, indices in groups:
        linked = [n for n, axis in enumerate(projection.axes) if axis.target in axes]
        heard &= _spread(_along(projection, axes, linked, indices), linked, shape)
    for number, axis in enumerate(projection.axes):
        if axis.target is None:
            heard &= _spread(_incidence(axis)[0], [number], shape)
    return heard


def _along(
    projection: Projection, axes: tuple[int, ...], linked: list[int], indices: NDArray[np.int64]
) -> Mask:
    """Which combinations of indices of the linked source axes some target of a tile reads."""
    sizes = [projection.axes[number].size for number in linked]
    met: Mask = np.zeros(sizes, bool)
    if not linked:
        return met if indices.shape[1] == 0 else np.ones(sizes, bool)
    if len(linked) == 1:
        axis = projection.axes[linked[0]]
        mine = np.unique(indices[axes.index(axis.target)]) if axis.target is not None else np.zeros(1, int)
        return np.asarray(_incidence(axis, int(mine.max()) + 1)[mine].any(0))
    tables = [_incidence(projection.axes[n], projection.target_sizes[_target(projection, n)]) for n in linked]
    for column in np.unique(indices, axis=1).T:
        parts = [
            np.flatnonzero(table[column[axes.index(_target(projection, number))]])
            for table, number in zip(tables, linked, strict=True)
        ]
        met[np.ix_(*parts)] = True
    return met


def _target(projection: Projection, number: int) -> int:
    target = projection.axes[number].target
    assert target is not None
    return target


def _incidence(axis: SourceAxis, targets: int = 1) -> Mask:
    """[targets, sources]: which source indices a target index reads."""
    found = np.zeros((targets, axis.size), bool)
    for target in range(targets):
        for tap in range(axis.taps):
            index = target * axis.stride + tap * axis.dilation + axis.offset
            if 0 <= index < axis.size:
                found[target, index] = True
    return found


def _spread(mask: Mask, numbers: list[int], sizes: list[int]) -> Mask:
    shape = [size if number in numbers else 1 for number, size in enumerate(sizes)]
    return mask.reshape(shape)
