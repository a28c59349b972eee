"""Which core sends what to which core, and the links that carry it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box, disjoint
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.placement import Tile

OUTSIDE = -1
"""The core number of the network's inputs."""

CHUNK = 4_000_000
"""Pairs of boxes compared at a time, to bound memory."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Flows:
    """Who reads whom, as parallel arrays.

    Attributes:
        projection: its number.
        source, target: cores; the source is :data:`OUTSIDE` for inputs.
        neurons: distinct neurons of the projection's source on the source core that the target core
            reads; each of their spikes is one message.
    """

    projection: Counts
    source: Counts
    target: Counts
    neurons: Counts


def readers(network: Network, tiles: Sequence[Tile], number: int) -> dict[int, tuple[Box, ...]]:
    """For each core that a projection reaches, the source neurons it reads, on the finer axes.

    The boxes of a core do not overlap: a spike reaches it in one message. With a window narrower
    than its stride a box also holds neurons that nothing on the core reads.
    """
    projection = network.projections[number]
    needs: dict[int, list[Box]] = {}
    for tile in tiles:
        if tile.population != projection.target:
            continue
        for piece in projection.target_pieces(tile.box):
            need = projection.need(piece)
            if need is not None:
                needs.setdefault(tile.core, []).append(need)
    return {core: disjoint(boxes) for core, boxes in needs.items()}


def all_flows(network: Network, tiles: Sequence[Tile]) -> Flows:
    """The flows of every projection."""
    by_population: dict[str, list[Tile]] = {}
    for tile in tiles:
        by_population.setdefault(tile.population, []).append(tile)
    parts = [_flows(network, number, by_population) for number in range(len(network.projections))]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else []
    return Flows(*columns) if columns else Flows(*(np.zeros(0, np.int64) for _ in range(4)))


def _flows(
    network: Network, number: int, tiles: Mapping[str, Sequence[Tile]]
) -> tuple[Counts, Counts, Counts, Counts]:
    projection = network.projections[number]
    population = network.population(projection.source)
    if population.role == "input":
        sources = [(OUTSIDE, box) for box in projection.source_pieces(Box.whole(population.shape))]
    else:
        held = tiles.get(population.name, ())
        sources = [(tile.core, box) for tile in held for box in projection.source_pieces(tile.box)]
    reached = readers(network, tiles.get(projection.target, ()), number)
    targets = [(core, box) for core, boxes in reached.items() for box in boxes]
    pairs: dict[tuple[int, int], int] = {}
    rows = max(1, CHUNK // max(len(targets), 1))
    for first in range(0, len(sources), rows):
        part = sources[first : first + rows]
        shared = _overlaps([box for _, box in part], [box for _, box in targets])
        for i, j in zip(*np.nonzero(shared), strict=True):
            key = part[i][0], targets[j][0]
            pairs[key] = pairs.get(key, 0) + int(shared[i, j])
    ends = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    neurons = np.array([pairs[key] for key in sorted(pairs)], np.int64)
    return np.full(len(pairs), number, np.int64), ends[:, 0], ends[:, 1], neurons


def _overlaps(a: Sequence[Box], b: Sequence[Box]) -> Counts:
    """Number of indices [a, b] that each box of one list shares with each of the other."""
    if not a or not b:
        return np.zeros((len(a), len(b)), np.int64)
    left = np.array([box.ranges for box in a], np.int64)
    right = np.array([box.ranges for box in b], np.int64)
    total = np.ones((len(a), len(b)), np.int64)
    for axis in range(left.shape[1]):
        low = np.maximum.outer(left[:, axis, 0], right[:, axis, 0])
        high = np.minimum.outer(left[:, axis, 1], right[:, axis, 1])
        total *= np.maximum(high - low, 0)
    return total


def distances(flows: Flows, columns: Counts, rows: Counts) -> Counts:
    """Hops between routers of each flow, for the router of each core; 0 for inputs."""
    hops = np.abs(columns[flows.source] - columns[flows.target]) + np.abs(
        rows[flows.source] - rows[flows.target]
    )
    return np.where(flows.source == OUTSIDE, 0, hops)


def busiest_link(
    flows: Flows, messages: NDArray[np.float64], columns: Counts, rows: Counts, mesh: tuple[int, int]
) -> float:
    """Messages on the link that carries most, first along the row, then along the column.

    Args:
        flows: who reads whom.
        messages: of each flow.
        columns: column of the router of each core.
        rows: row of the router of each core.
        mesh: columns and rows of routers.
    """
    inside = flows.source != OUTSIDE
    source, target, load = flows.source[inside], flows.target[inside], messages[inside]
    width, height = mesh
    east = _swept(columns[source], columns[target], rows[source], load, width, height)
    south = _swept(rows[source], rows[target], columns[target], load, height, width)
    return float(max(east.max(initial=0), south.max(initial=0)))


def _swept(
    start: Counts, stop: Counts, lane: Counts, load: NDArray[np.float64], length: int, lanes: int
) -> NDArray[np.float64]:
    """Load of every link of parallel lanes, for each of the two directions."""
    change = np.zeros((2, lanes, length + 1))
    backward = (stop < start).astype(np.int64)
    np.add.at(change, (backward, lane, np.minimum(start, stop)), load)
    np.add.at(change, (backward, lane, np.maximum(start, stop)), -load)
    return change.cumsum(-1)
