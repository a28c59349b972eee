"""Routes on which routers copy a spike where the ways to its targets part.

The routes from a core to all cores that read a neuron run first along the row, then along the column,
so that together they are a tree: a trunk along the row of the source, and from it branches along the
columns of the targets. Each link of the tree carries the spike once. All neurons of a class
(:mod:`~spikeloom.compiler.mapping.routing.fanout`) have the same tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import Demand
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.routing.fanout import Counts, Fanout, fanouts
from spikeloom.compiler.mapping.routing.flows import OUTSIDE

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Trees:
    """What the trees of all spikes come to.

    Attributes:
        sent: [populations], neurons that another core reads; each of their spikes is sent once. Of inputs,
            those that any core reads.
        hops: [populations], links of the trees of all neurons; 0 for inputs.
        crossings: [populations], pairs of a neuron and another chip that reads it; 0 for inputs.
        least_hops: [populations], that no tree can do without, wherever the cores are.
        links: [4, rows, columns], messages a step that leave each router to the east, west, south, north.
        sent_by: [cores], messages a step that each core sends.
    """

    sent: Counts
    hops: Counts
    crossings: Counts
    least_hops: Counts
    links: Weights
    sent_by: Weights


def trees(
    network: Network,
    demands: Sequence[Demand],
    rates: Mapping[str, float],
    places: tuple[Counts, Counts, Counts],
    chip: Chip,
) -> Trees:
    """Count the trees of every population; one population's classes are in memory at a time.

    Args:
        network: what is mapped.
        demands: what each core holds and reads.
        rates: messages a neuron and step, by population.
        places: column, row and chip of the router of each core.
        chip: with their routers.
    """
    columns, rows, chips = places
    mesh = chip.routers
    per_neuron = [rates[one.name] for one in network.populations]
    sums = []
    links, sent_by = np.zeros((4, mesh[1], mesh[0])), np.zeros(len(columns))
    for rate, one in zip(per_neuron, fanouts(network, demands), strict=True):
        inside = one.source != OUTSIDE
        carried = tree_links(one, columns, rows, mesh)
        links += rate * carried
        sent_by += rate * np.bincount(one.source[inside], one.neurons[inside], len(columns))
        sums.append(
            (
                int(one.neurons.sum()),
                int(carried.sum()),
                int(_crossings(one.source, one.neurons, one.first, one.target, chips)),
                least_tree_hops(one, chip.mesh.cores_per_router),
            )
        )
    sent, hops, crossings, least = np.array(sums, np.int64).reshape(-1, 4).T
    return Trees(sent, hops, crossings, least, links, sent_by)


def tree_links(fanout: Fanout, columns: Counts, rows: Counts, mesh: tuple[int, int]) -> Counts:
    """How many neurons' trees use each link: [4, rows, columns], to the east, west, south and north.

    Args:
        fanout: the classes of a population.
        columns: column of the router of each core.
        rows: row of the router of each core.
        mesh: columns and rows of routers.

    >>> one = Fanout(*map(np.array, ([0], [[[0, 5]]], [5], [0, 2], [1, 2])))  # 5 neurons, read by 1 and 2
    >>> tree_links(one, np.array([0, 2, 2]), np.array([0, 0, 1]), (3, 2)).sum((1, 2)).tolist()
    [10, 0, 5, 0]
    """
    change = _changes(fanout.source, fanout.neurons, fanout.first, fanout.target, columns, rows, *mesh)
    east, west, south, north = change
    east, south = east.cumsum(1), south.cumsum(0)
    west, north = west[:, ::-1].cumsum(1)[:, ::-1], north[::-1].cumsum(0)[::-1]
    return np.stack([east, west, south, north])


def least_tree_hops(fanout: Fanout, cores_per_router: int) -> int:
    """Links of the trees of all neurons, at least, wherever the cores are placed.

    A tree of n links reaches n routers besides the source's own, where there are other cores too. Every class
    has the best places for itself alone here, so that the bound is out of reach.

    >>> one = Fanout(*map(np.array, ([0], [[[0, 5]]], [5], [0, 7], range(1, 8))))  # 7 targets, 3 a router
    >>> least_tree_hops(one, 3)  # 2 of them at the source's router, the others at 2 more
    10
    """
    beyond = np.maximum(fanout.spread - (cores_per_router - 1), 0)
    needed = -(-beyond // cores_per_router)
    return int((fanout.neurons * needed)[fanout.source != OUTSIDE].sum())


@njit(cache=True)
def _changes(
    source: Counts,
    neurons: Counts,
    first: Counts,
    target: Counts,
    columns: Counts,
    rows: Counts,
    width: int,
    height: int,
) -> Counts:  # pragma: no cover - compiled
    """Where the load of links begins and ends, in the direction of travel: [4, rows, columns]."""
    change = np.zeros((4, height, width), np.int64)
    lowest, highest = np.full(width, height, np.int64), np.full(width, -1, np.int64)
    for number in range(len(source)):
        if source[number] < 0:
            continue
        here, row, count = columns[source[number]], rows[source[number]], neurons[number]
        left, right = here, here
        for reader in target[first[number] : first[number + 1]]:
            column = columns[reader]
            left, right = min(left, column), max(right, column)
            lowest[column] = min(lowest[column], rows[reader])
            highest[column] = max(highest[column], rows[reader])
        change[0, row, here] += count
        change[0, row, right] -= count
        change[1, row, here] += count
        change[1, row, left] -= count
        for column in range(left, right + 1):
            if highest[column] > row:
                change[2, row, column] += count
                change[2, highest[column], column] -= count
            if lowest[column] < row:
                change[3, row, column] += count
                change[3, lowest[column], column] -= count
            lowest[column], highest[column] = height, -1
    return change


@njit(cache=True)
def _crossings(
    source: Counts, neurons: Counts, first: Counts, target: Counts, chips: Counts
) -> int:  # pragma: no cover - compiled
    total = 0
    seen = np.full(chips.max() + 1, -1, np.int64)
    for number in range(len(source)):
        if source[number] < 0:
            continue
        seen[chips[source[number]]] = number
        for reader in target[first[number] : first[number + 1]]:
            chip = chips[reader]
            if seen[chip] != number:
                seen[chip] = number
                total += neurons[number]
    return total
