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

from dataclasses import dataclass
from itertools import product
from math import ceil, prod

from spikeloom.compiler.mapping.bounds.runs import runs_of, targets_of
from spikeloom.compiler.mapping.box import Box, Range, coarsen, union_size
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.network import Network, Population, Projection, SourceAxis


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
    axes = (runs_of(network, population, axis) for axis in range(len(population.shape)))
    return sum(
        prod(run.count for run in runs)
        * _least(network, chip, population, Box(tuple(run.place for run in runs)))
        for runs in product(*axes)
    )


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
    slices: dict[tuple[str, tuple[int, ...]], list[Box]] = {}
    for name, parts in boxes.items():
        for number in network.into(name):
            projection = network.projections[number]
            pieces = (piece for box in parts for piece in projection.target_pieces(box))
            reading = (piece for piece in pieces if projection.need(piece) is not None)
            grid = tuple(axis.size for axis in projection.kernel_axes)
            slices.setdefault((projection.kernel, grid), []).extend(map(projection.kernel_slice, reading))
    stored: dict[str, int] = {}
    for (name, _), parts in slices.items():
        # terms of a sum that split its axes otherwise may share its weights; the larger number is certain
        stored[name] = max(stored.get(name, 0), union_size(dict.fromkeys(parts)))
    bits = sum(network.kernel(name).bits * count for name, count in stored.items())
    state = sum(count * network.population(name).state_bytes for name, count in counts.items())
    return Load(sum(counts.values()), bits, state), frozenset(stored)


def _reached(projection: Projection, neuron: Box) -> tuple[int, tuple[Box, ...]]:
    """How many targets a single neuron reaches, and boxes of the target with some of them, most often all."""
    ranges: list[Range] = [(0, size) for size in projection.target_sizes]
    count = 1
    followed = set()
    for axis, (index, _) in zip(projection.axes, projection.source_pieces(neuron)[0].ranges, strict=True):
        targets = targets_of(axis, projection.target_sizes)[index]
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
            kernel = network.kernel(projection.kernel)
            # terms of a sum may share a kernel: counted once
            bits[kernel.name] = max(bits.get(kernel.name, 0), outputs * _row(projection, group) * kernel.bits)
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


def _row(projection: Projection, group: Box) -> int:
    """The fewest weights that end in a neuron of a group: beside borders some taps read nothing."""
    return min(
        prod(
            1 if axis.source is None else _fewest_taps(projection.axes[axis.source], piece)
            for axis in projection.kernel_axes
            if axis.target is None
        )
        for piece in projection.target_pieces(group)
    )


def _fewest_taps(axis: SourceAxis, piece: Box) -> int:
    """All indices are looked at: with far taps, the fewest may be in the middle."""
    targets = range(1) if axis.target is None else range(*piece.ranges[axis.target])
    used = (axis.taps_used(target, target + 1) for target in targets)
    return min(max(stop - start, 0) for start, stop in used)
