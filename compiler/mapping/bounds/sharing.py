"""How few messages need populations that are read as wholes: readers on one core share what they hear.

A source here is a population of whose neurons every reader reads all. Let a_s be the spikes of source s in
a step, and k_s how many neurons on a core read it; the core hears s if k_s > 0. Let every reader there
carry the same part of it. Then a neuron on the core that reads the sources S carries, for any numbers g_s >
0,

    sum_{s in S} a_s / k_s  >=  sum_{s in S} a_s (2 / g_s - k_s / g_s^2)

since 1 / k is convex: the right side is its tangent at g. The part with k_s is linear in the neurons on the
core, so that it is at most what the best fractional knapsack of neurons collects within any one limit of a
core. Numbers g for which the bound is high come from the method of Frank and Wolfe; it holds for any. All
parts together are the spikes that cores hear, of which each can be heard once where it comes from: what is
left are messages. Networks without geometry, as random ones, are bound by this: their readers share little.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.bounds.twins import own, shares
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.network import Network, Projection

Values = NDArray[np.float64]

STEPS = 12
"""Of the search for the numbers g. More raise the bound of the random network by less than 2 %."""


def least_by_sharing(
    network: Network, chip: Chip, rates: Mapping[str, float]
) -> tuple[frozenset[str], float]:
    """The sources that are read as wholes, and messages a step that their spikes need in any mapping.

    Args:
        network: populations and projections.
        chip: limits of a core.
        rates: messages a neuron and step, by population.
    """
    sources = [one for one in network.placed if _is_read_whole(network, one.name)]
    targets = sorted({network.projections[n].target for one in sources for n in network.out_of(one.name)})
    spikes = np.array([rates[one.name] * one.size for one in sources])
    reads = np.zeros((len(targets), len(sources)))
    place = {name: number for number, name in enumerate(targets)}
    for column, one in enumerate(sources):
        for number in network.out_of(one.name):
            reads[place[network.projections[number].target], column] = 1
    sizes = np.array([network.population(name).size for name in targets], float)
    carried = max(
        (
            float(sizes @ _carried(reads, spikes, sizes, weights, room))
            for weights, room in _limits(network, chip, targets)
            if sources
        ),
        default=0.0,
    )
    return frozenset(one.name for one in sources), max(carried - float(spikes.sum()), 0.0)


def _carried(reads: Values, spikes: Values, sizes: Values, weights: Values, room: float) -> Values:
    """For each target, the least that one of its neurons carries on any core, within one limit."""
    best = np.zeros(len(sizes))
    mates = np.diag(sizes)
    for step in range(STEPS):
        inverse = reads / np.maximum(mates @ reads, 1e-9)
        saved = (spikes * inverse**2) @ reads.T
        fullest = _fullest(saved, sizes, weights, room)
        best = np.maximum(best, 2 * (inverse @ spikes) - (saved * fullest).sum(1))
        mates += 2 / (step + 3) * (fullest - mates)
    return best


def _is_read_whole(network: Network, source: str) -> bool:
    """Whether whatever reads one neuron of a source reads all."""
    numbers = network.out_of(source)
    return bool(numbers) and all(_is_full(network.projections[number]) for number in numbers)


def _is_full(projection: Projection) -> bool:
    """Whether every neuron of the source feeds every neuron of the target."""
    sizes = projection.target_sizes
    counts = ((axis, 1 if axis.target is None else sizes[axis.target]) for axis in projection.axes)
    return all(axis.pairs(0, count) == axis.size * count for axis, count in counts)


def _limits(network: Network, chip: Chip, targets: list[str]) -> list[tuple[Values, float]]:
    """For each limit, what a neuron of each target takes of it at least, and the limit."""
    into: dict[str, set[str]] = {}
    for projection in network.projections:
        into.setdefault(projection.kernel, set()).add(projection.target)
    shared = frozenset(kernel for kernel, readers in into.items() if len(readers) > 1)
    wholes = [network.population(name) for name in targets]
    loads = [shares(chip, own(network, one, Box.whole(one.shape), shared)) for one in wholes]
    sizes = np.array([one.size for one in wholes], float)
    return [
        (np.array([used for used, _ in column], float) / sizes, float(column[0][1]))
        for column in zip(*loads, strict=True)
    ]


def _fullest(values: Values, sizes: Values, weights: Values, room: float) -> Values:
    """For each row of values, the neurons of each target that collect most within a limit, in fractions."""
    with np.errstate(divide="ignore", invalid="ignore"):
        order = np.argsort(-np.nan_to_num(values / weights, nan=0.0, posinf=np.inf), axis=1, kind="stable")
    taken = (sizes * weights)[order]
    before = np.cumsum(taken, axis=1) - taken
    part = np.divide(room - before, taken, out=np.ones_like(taken), where=taken > 0)
    chosen = np.zeros_like(values)
    np.put_along_axis(chosen, order, np.clip(part, 0, 1) * sizes[order], 1)
    return chosen
