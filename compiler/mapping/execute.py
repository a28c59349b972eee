"""Execution of a mapping: every spike of a step goes to cores, and there to synapses.

It judges mappings, so it shares no code with the mapper: cores learn from their tiles, index by index,
which neurons they must hear; the routing table under test says where a spike is sent. Of a mesh whose routers
copy messages, the table of each router is followed from link to link.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.network import Population, Projection, SourceAxis
from spikeloom.compiler.mapping.placement import Mapping, Tile
from spikeloom.compiler.mapping.routing.tables import CORE, Routes

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
        table = tables.get(population.name, {})
        counts += _arrivals(mapping, population, table, spikes[population.name], mesh_only=False)
    return Delivery(*counts.tolist())


@dataclass(frozen=True)
class Walk:
    """What became of the spikes of a step on a mesh whose routers copy messages.

    Attributes:
        delivery: of the spikes that cores sent; what is read on a neuron's own core takes no route.
        links: for each population, [4, rows, columns], messages that left each router to the east, west,
            south and north.
        lost: spikes times the places where a table fails them: it has no entry, leads off the mesh or round
            in a circle, or names a core that is not there.
    """

    delivery: Delivery
    links: MappingOf[str, NDArray[np.int64]]
    lost: int

    @property
    def exact(self) -> bool:
        """Whether every spike reached each core that needs it exactly once, and none was lost."""
        return self.delivery.exact and not self.lost


def walk(mapping: Mapping, routes: Routes, spikes: MappingOf[str, Mask]) -> Walk:
    """Send spikes from router to router by their tables, and count what arrives and what each link carries.

    Args:
        mapping: tiles on cores.
        routes: the tables under test.
        spikes: which neurons of each population fire, in its shape.
    """
    width, height = mapping.chip.routers
    inside = [one for one in mapping.network.populations if one.role != "input"]
    links = {one.name: np.zeros((len(WAYS), height, width), np.int64) for one in inside}
    arrived: dict[str, dict[int, tuple[Box, ...]]] = {one.name: {} for one in inside}
    owners = {one.name: mapping.cores_of(one.name) for one in inside}
    lost = 0
    for number, key in enumerate(routes.keys):
        fired = int(spikes[key.population][key.box.slices].sum())
        path = _path(mapping, routes, number)
        foreign = int((owners[key.population][key.box.slices] != key.source).any())
        lost += fired * (path.failures + foreign)
        for link in path.links:
            links[key.population][link] += fired
        table = arrived[key.population]
        for core in path.cores:
            table[core] = (*table.get(core, ()), key.box)
    counts = np.zeros(5, np.int64)
    for one in inside:
        counts += _arrivals(mapping, one, arrived[one.name], spikes[one.name], mesh_only=True)
    return Walk(Delivery(*counts.tolist()), links, lost)


WAYS = {"east": (1, 0), "west": (-1, 0), "south": (0, 1), "north": (0, -1)}


@dataclass(frozen=True)
class _Path:
    """Where a message and its copies go: links as (way, row, column), cores, and where a table fails them."""

    links: list[tuple[int, int, int]]
    cores: list[int]
    failures: int


def _path(mapping: Mapping, routes: Routes, key: int) -> _Path:
    source = mapping.cores[routes.keys[key].source]
    width, height = mapping.chip.routers
    waiting = [((source.column, source.row), CORE)]
    seen = set(waiting)
    links: list[tuple[int, int, int]] = []
    cores: list[int] = []
    failures = 0
    while waiting:
        (column, row), came = waiting.pop()
        outputs = routes.entries.get((column, row), {}).get((key, came))
        if outputs is None:
            failures += 1
            continue
        here = [
            (mapping.cores[core].column, mapping.cores[core].row) == (column, row) for core in outputs.cores
        ]
        cores.extend(core for core, there in zip(outputs.cores, here, strict=True) if there)
        failures += here.count(False)
        for way in outputs.ways:
            links.append((list(WAYS).index(way), row, column))
            right, down = WAYS[way]
            copy = (column + right, row + down), way
            if copy in seen or not (0 <= copy[0][0] < width and 0 <= copy[0][1] < height):
                failures += 1
                continue
            seen.add(copy)
            waiting.append(copy)
    return _Path(links, cores, failures)


def _arrivals(
    mapping: Mapping, population: Population, table: Table, fired: Mask, *, mesh_only: bool
) -> NDArray[np.int64]:
    """Spikes, messages, missed, doubled and needless of a population, for what a table sends to each core.

    With ``mesh_only`` the table is of other cores, and a core hears its own neurons without it.
    """
    counts = np.zeros(5, np.int64)
    counts[0] = int(fired.sum())
    owner = mapping.cores_of(population.name)
    needed = _needs(mapping, population)
    for core in sorted(needed.keys() | table.keys()):
        heard = needed.get(core, np.zeros(population.shape, bool))
        sent = np.zeros(population.shape, np.int64)
        for box in table.get(core, ()):
            sent[box.slices] += 1
        if mesh_only:
            sent += heard & (owner == core)
        counts[1:] += (
            int((sent[fired & (owner != core)] > 0).sum()),
            int((heard & fired & (sent == 0)).sum()),
            int((fired & (sent > 1)).sum()),
            int((~heard & fired & (sent > 0)).sum()),
        )
    return counts


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
