"""How few messages a population needs, one group of twins at a time.

Neurons that exactly the same neurons read are twins: all channels at one position before a dense layer. Take
a group G of them with its readers T, and the n cores that hold readers. Each of these cores hears each twin,
so that the group needs

    |G| n - L

messages for a spike of each, L being the twins that are on one of the n cores themselves. Those n cores hold
all of T, with all weights that end in any of T (a neuron's fan-in is not split over cores), so that n is at
least what these fill. And they hold the L twins with theirs: what T leaves of n cores bounds L. One core
more costs |G| messages and saves at most |G|, so that the fewest n give the least. Weights are counted once,
without headers, indices or padding: the bound holds for every encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box, Range, coarsen, union_size
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.network import Network, Population, Projection, SourceAxis

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """Twins along one axis.

    Attributes:
        places: the first and the last range of indices that reach as many; others lie between.
        count: how many ranges there are.
    """

    places: tuple[Range, ...]
    count: int


@dataclass(frozen=True)
class Load:
    """What some neurons take of cores, each thing once.

    Attributes:
        neurons: their number.
        weight_bits, state_bytes: of their distinct weights, and of their state.
    """

    neurons: int
    weight_bits: int
    state_bytes: int


def least_by_twins(network: Network, chip: Chip, population: Population) -> int:
    """Messages between cores that no mapping can do without, if every neuron of a population spikes once."""
    numbers = network.out_of(population.name)
    along = [network.projections[number] for number in numbers]
    axes = [
        _runs(extent, ((one.source_axes[axis], one.target_sizes) for one in along))
        for axis, extent in enumerate(population.shape)
    ]
    total = 0
    for runs in product(*axes):
        places = (Box(ranges) for ranges in product(*(run.places for run in runs)))
        total += prod(run.count for run in runs) * min(_least(network, chip, population, g) for g in places)
    return total


def _least(network: Network, chip: Chip, population: Population, group: Box) -> int:
    """Messages of one group of twins."""
    readers, kernels = _readers(network, population, group)
    if not readers.neurons:
        return 0
    cores = max(ceil(used / room) for used, room in shares(chip, readers))
    if population.name in {network.projections[number].target for number in network.out_of(population.name)}:
        return group.size * (cores - 1)
    twins = own(network, population, group, kernels)
    local = min(
        (cores * room - used) * group.size // each
        for (used, room), (each, _) in zip(shares(chip, readers), shares(chip, twins), strict=True)
        if each
    )
    return group.size * cores - min(local, group.size)


def shares(chip: Chip, load: Load) -> list[tuple[int, int]]:
    """What a load takes of each limit, and the limit; memories in bits.

    The limits are the same, in the same order, for every load.
    """
    shares = [(load.neurons, chip.neurons)]
    synapses, memory = chip.limit("synaptic_memory"), chip.limit("core_memory")
    if synapses is not None:
        shares.append((load.weight_bits, synapses.value * chip.encoding.word_bits))
    if memory is not None:
        shares.append((load.weight_bits + 8 * load.state_bytes, 8 * memory.value))
    return shares


def _readers(network: Network, population: Population, group: Box) -> tuple[Load, frozenset[str]]:
    """What the readers of a group take, and the kernels that end in them."""
    neuron = Box(tuple((start, start + 1) for start, _ in group.ranges))
    boxes: dict[str, list[Box]] = {}
    counts: dict[str, int] = {}
    for number in network.out_of(population.name):
        projection = network.projections[number]
        count, found = _reached(projection, neuron)
        if count:
            # two projections onto one population may reach the same neurons; the larger number is certain
            counts[projection.target] = max(counts.get(projection.target, 0), count)
            boxes.setdefault(projection.target, []).extend(found)
    slices: dict[str, list[Box]] = {}
    for name, parts in boxes.items():
        for number in network.into(name):
            projection = network.projections[number]
            pieces = (piece for box in parts for piece in projection.target_pieces(box))
            slices.setdefault(projection.kernel, []).extend(map(projection.kernel_slice, pieces))
    bits = sum(network.kernel(name).bits * union_size(dict.fromkeys(parts)) for name, parts in slices.items())
    state = sum(count * network.population(name).state_bytes for name, count in counts.items())
    return Load(sum(counts.values()), bits, state), frozenset(slices)


def _reached(projection: Projection, neuron: Box) -> tuple[int, tuple[Box, ...]]:
    """How many targets a single neuron reaches, and boxes of the target with some of them, most often all."""
    ranges: list[Range] = [(0, size) for size in projection.target_sizes]
    count = 1
    followed = set()
    for axis, (index, _) in zip(projection.axes, projection.source_pieces(neuron)[0].ranges, strict=True):
        targets = _targets(axis, projection.target_sizes)[index]
        count *= len(targets)
        if not len(targets):
            return 0, ()
        if axis.target is not None:
            followed.add(axis.target)
            first, last = int(targets[0]), int(targets[-1])
            ranges[axis.target] = (first, last + 1 if last - first < len(targets) else first + 1)
    count *= prod(size for number, size in enumerate(projection.target_sizes) if number not in followed)
    return count, coarsen(Box(tuple(ranges)), projection.target_grid)


def own(network: Network, population: Population, group: Box, known: frozenset[str]) -> Load:
    """The least that the neurons of a group take, in proportion to how many of them there are.

    Neurons that use the same outputs of a kernel store them once; known kernels may be there already.
    """
    bits: dict[str, int] = {}
    for number in network.into(population.name):
        projection = network.projections[number]
        if projection.kernel not in known:
            outputs = group.size // _sharing(projection, group)
            row = min(_row(projection, Box(tuple(corner))) for corner in _corners(group))
            kernel = network.kernel(projection.kernel)
            # terms of a sum may share a kernel: counted once
            bits[kernel.name] = max(bits.get(kernel.name, 0), outputs * row * kernel.bits)
    return Load(group.size, sum(bits.values()), group.size * population.state_bytes)


def _sharing(projection: Projection, group: Box) -> int:
    """At most so many neurons of a group use the same output of the kernel."""
    followed = {axis.target for axis in projection.kernel_axes}
    pieces = projection.target_pieces(group)
    each = (
        prod(extent for number, extent in enumerate(piece.shape) if number not in followed)
        for piece in pieces
    )
    return min(max(sum(each), 1), group.size)


def _row(projection: Projection, neuron: Box) -> int:
    """Weights that end in a neuron."""
    piece = projection.target_pieces(neuron)[0]
    ranges = zip(projection.kernel_axes, projection.kernel_slice(piece).ranges, strict=True)
    return prod(max(stop - start, 0) for axis, (start, stop) in ranges if axis.target is None)


def _corners(group: Box) -> Iterator[tuple[Range, ...]]:
    return product(*(((start, start + 1), (stop - 1, stop)) for start, stop in group.ranges))


def _runs(extent: int, along: Iterable[tuple[tuple[SourceAxis, ...], tuple[int, ...]]]) -> list[Run]:
    """Ranges of indices that reach the same targets along the axes that follow theirs, by how many."""
    found = [_labels(group, sizes) for group, sizes in dict.fromkeys(along)]
    labels = np.concatenate([np.zeros((1, extent), np.int64), *(part for part, _ in found)])
    counts = np.concatenate([np.zeros((1, extent), np.int64), *(part for _, part in found)])
    starts = np.flatnonzero(np.concatenate([[True], (labels[:, 1:] != labels[:, :-1]).any(0)]))
    stops = np.append(starts[1:], extent)
    kinds: dict[bytes, list[Range]] = {}
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        key = np.append(counts[:, start], stop - start).tobytes()
        kinds.setdefault(key, []).append((start, stop))
    return [Run(tuple(dict.fromkeys((alike[0], alike[-1]))), len(alike)) for alike in kinds.values()]


@lru_cache(maxsize=1024)
def _labels(group: tuple[SourceAxis, ...], sizes: tuple[int, ...]) -> tuple[Indices, Indices]:
    """For each finer axis, a label of what an index of the coarse axis reaches along it, and how many."""
    indices = np.indices(tuple(axis.size for axis in group)).reshape(len(group), -1)
    labels, counts = np.zeros_like(indices), np.zeros_like(indices)
    for row, (axis, finer) in enumerate(zip(group, indices, strict=True)):
        reached = _targets(axis, sizes)
        known: dict[bytes, int] = {}
        each = [known.setdefault(targets.tobytes(), len(known)) for targets in reached]
        labels[row], counts[row] = np.array(each)[finer], np.array([len(one) for one in reached])[finer]
    return labels, counts


@lru_cache(maxsize=1024)
def _targets(axis: SourceAxis, sizes: tuple[int, ...]) -> list[Indices]:
    """For each source index of an axis, the target indices that it reaches."""
    count = 1 if axis.target is None else sizes[axis.target]
    target, tap = (part.ravel() for part in np.indices((count, axis.taps)))
    source = target * (axis.stride if axis.target is not None else 0) + tap * axis.dilation + axis.offset
    inside = (source >= 0) & (source < axis.size)
    order = np.lexsort((target[inside], source[inside]))
    ends = np.searchsorted(source[inside][order], np.arange(1, axis.size))
    return np.split(target[inside][order], ends)
