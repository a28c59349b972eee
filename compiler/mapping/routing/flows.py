"""Which core sends what to which core, and the links that carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box, disjoint
from spikeloom.compiler.mapping.demand import Demand, tile_demand
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.overlap import overlaps
from spikeloom.compiler.mapping.placement import Tile

OUTSIDE = -1
"""The core number of the network's inputs."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Flows:
    """Who reads whom, as parallel arrays.

    Attributes:
        population: number of the source population in the network.
        source, target: cores; the source is :data:`OUTSIDE` for inputs.
        neurons: distinct neurons of the population on the source core that the target core reads, by
            any projection; each of their spikes is one message.
    """

    population: Counts
    source: Counts
    target: Counts
    neurons: Counts


def demands(network: Network, tiles: Sequence[Tile], cores: int) -> list[Demand]:
    """What is on each core and what it needs."""
    found: list[Demand | None] = [None] * cores
    for tile in tiles:
        more = tile_demand(network, network.population(tile.population), tile.box)
        before = found[tile.core]
        found[tile.core] = more if before is None else before.with_tile(more)
    return [demand for demand in found if demand is not None]


def readers(network: Network, tiles: Sequence[Tile], population: str) -> dict[int, tuple[Box, ...]]:
    """For each core that reads a population, the neurons that it reads, as boxes that do not overlap.

    A spike reaches such a core in one message, whatever reads it there. With a window narrower
    than its stride a box also holds neurons that nothing on the core reads.
    """
    needs: dict[int, list[Box]] = {}
    targets = {network.projections[number].target for number in network.out_of(population)}
    for tile in tiles:
        if tile.population in targets:
            demand = tile_demand(network, network.population(tile.population), tile.box)
            needs.setdefault(tile.core, []).extend(demand.reads.get(population, ()))
    return {core: disjoint(boxes) for core, boxes in needs.items() if boxes}


Boxes = list[tuple[int, Box]]
"""Cores, and boxes of one population there."""


def holders_and_readers(
    network: Network, demands: Sequence[Demand]
) -> tuple[dict[str, Boxes], dict[str, Boxes]]:
    """For each population, the boxes of it that each core holds, and those that each core reads."""
    reading: dict[str, Boxes] = {one.name: [] for one in network.populations}
    holding: dict[str, Boxes] = {
        one.name: [(OUTSIDE, Box.whole(one.shape))] if one.role == "input" else []
        for one in network.populations
    }
    for core, demand in enumerate(demands):
        for wanted, table in ((demand.reads, reading), (demand.holds, holding)):
            for name, boxes in wanted.items():
                table[name] += [(core, box) for box in boxes]
    return holding, reading


def all_flows(network: Network, demands: Sequence[Demand]) -> Flows:
    """The flows of every population, from what each core holds and reads."""
    holding, reading = holders_and_readers(network, demands)
    parts = [
        _flows(number, holding[one.name], reading[one.name], len(demands))
        for number, one in enumerate(network.populations)
    ]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Flows(*columns)


def _flows(number: int, holding: Boxes, reading: Boxes, cores: int) -> tuple[Counts, Counts, Counts, Counts]:
    first, second, shared = overlaps([box for _, box in holding], [box for _, box in reading])
    source = np.array([core for core, _ in holding], np.int64)[first]
    target = np.array([core for core, _ in reading], np.int64)[second]
    keys, place = np.unique((source + 1) * (cores + 1) + target, return_inverse=True)
    neurons = np.bincount(place, shared, len(keys)).astype(np.int64)
    ends = keys // (cores + 1) - 1, keys % (cores + 1)
    return np.full(len(keys), number, np.int64), *ends, neurons


def distances(flows: Flows, columns: Counts, rows: Counts) -> Counts:
    """Hops between routers of each flow, for the router of each core; 0 for inputs."""
    hops = np.abs(columns[flows.source] - columns[flows.target]) + np.abs(
        rows[flows.source] - rows[flows.target]
    )
    return np.where(flows.source == OUTSIDE, 0, hops)


def link_loads(
    flows: Flows, messages: NDArray[np.float64], columns: Counts, rows: Counts, mesh: tuple[int, int]
) -> NDArray[np.float64]:
    """Messages on every link, on routes first along the row, then along the column.

    Args:
        flows: who reads whom.
        messages: of each flow.
        columns: column of the router of each core.
        rows: row of the router of each core.
        mesh: columns and rows of routers.

    Returns:
        [4, rows, columns]: what leaves each router to the east, west, south and north.
    """
    inside = flows.source != OUTSIDE
    source, target, load = flows.source[inside], flows.target[inside], messages[inside]
    width, height = mesh
    east, west = _swept(columns[source], columns[target], rows[source], load, width, height)
    south, north = _swept(rows[source], rows[target], columns[target], load, height, width)
    return np.stack([east, west, south.T, north.T])


def _swept(
    start: Counts, stop: Counts, lane: Counts, load: NDArray[np.float64], length: int, lanes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What leaves each place of parallel lanes forward, and backward: [lanes, length] each."""
    found = []
    for first, last, ahead in ((start, stop, stop > start), (stop + 1, start + 1, start > stop)):
        change = np.zeros((lanes, length + 2))
        np.add.at(change, (lane[ahead], first[ahead]), load[ahead])
        np.add.at(change, (lane[ahead], last[ahead]), -load[ahead])
        found.append(np.maximum(change.cumsum(-1)[:, :length], 0.0))
    return found[0], found[1]
