"""How few messages any mapping can need.

A spike must reach every core that holds a neuron which reads it. Take those cores and the one that the spike
comes from. Together they hold the source and all its readers, with all weights that end in any of these (a
neuron's fan-in is not split over cores), and every weight is on at least one of them. So they are at least

    n = max(ceil(neurons / neurons a core), ceil(bytes of distinct weights / bytes of synapses a core))

cores, of which one is the spike's own: it needs at least n - 1 messages. Weights are counted once, without
headers, indices or padding, so that the bound holds for every encoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box, union_size
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.network import Network, Population, Projection


def least_messages(network: Network, chip: Chip, rates: Mapping[str, float]) -> float:
    """Messages a step between cores that no mapping can do without, at some firing rates.

    Args:
        network: populations and projections; spikes of inputs come from outside and do not count.
        chip: limits of a core.
        rates: messages a neuron and step, by population.
    """
    return sum(rates[population.name] * _least_of(network, chip, population) for population in network.placed)


def _least_of(network: Network, chip: Chip, population: Population) -> int:
    """Messages if every neuron of a population spikes once."""
    numbers = network.out_of(population.name)
    total = 0
    for box, count in _classes(population, [network.projections[number] for number in numbers]):
        total += count * (_cores_reached(network, chip, numbers, population.name, box) - 1)
    return total


def _classes(population: Population, projections: list[Projection]) -> list[tuple[Box, int]]:
    """Single neurons, each with the number of neurons that reach as much as it does or more.

    Along each axis, indices whose targets are as many are taken together: near a border there are fewer.
    """
    axes = []
    for axis, extent in enumerate(population.shape):
        signature = [_reach_along(one, population, axis) for one in projections]
        table = np.stack([*signature, np.zeros(extent, np.int64)])
        _, first, counts = np.unique(table, axis=1, return_index=True, return_counts=True)
        axes.append(list(zip(first.tolist(), counts.tolist(), strict=True)))
    return [
        (Box(tuple((index, index + 1) for index, _ in choice)), prod(count for _, count in choice))
        for choice in product(*axes)
    ]


def _reach_along(one: Projection, population: Population, axis: int) -> NDArray[np.int64]:
    """For each index of an axis, how many target indices it reaches along the axes that follow it."""
    group = one.source_axes[axis]
    total = np.ones(1, np.int64)
    for part in group:
        if part.target is None:
            reached = np.array([int(part.feeds(i, i + 1, 1) is not None) for i in range(part.size)], np.int64)
        else:
            targets = np.arange(one.target_sizes[part.target])[:, None] * part.stride
            sources = targets + np.arange(part.taps) * part.dilation + part.offset
            inside = sources[(sources >= 0) & (sources < part.size)]
            reached = np.bincount(inside, minlength=part.size)
        total = np.multiply.outer(total, reached).ravel()
    return total


def _cores_reached(network: Network, chip: Chip, numbers: tuple[int, ...], source: str, neuron: Box) -> int:
    """The least number of cores that hold a single neuron and all that read it."""
    reached: dict[str, list[Box]] = {}
    neurons: dict[str, int] = {}
    for number in numbers:
        projection = network.projections[number]
        boxes = projection.feeds(neuron)
        reached.setdefault(projection.target, []).extend(boxes)
        # two projections onto one population may reach the same neurons; the larger one is certain
        count = _reached_neurons(projection, neuron)
        neurons[projection.target] = max(neurons.get(projection.target, 0), count)
    if not sum(neurons.values()):
        return 1
    # a neuron that reads itself is counted as a reader
    own = 0 if source in neurons else 1
    together = {name: boxes for name, boxes in reached.items() if neurons[name]}
    together.setdefault(source, []).append(neuron)
    memory = chip.limit("synaptic_memory")
    bits = _kernel_bits(network, together)
    by_memory = 0 if memory is None else ceil(bits / (memory.value * chip.encoding.word_bits))
    return max(by_memory, ceil((own + sum(neurons.values())) / chip.neurons))


def _reached_neurons(projection: Projection, source: Box) -> int:
    linked = 1
    flat = iter(projection.source_pieces(source)[0].ranges)
    for axis in projection.axes:
        start, _ = next(flat)
        if axis.target is None:
            linked *= int(axis.feeds(start, start + 1, 1) is not None)
            continue
        targets = np.arange(projection.target_sizes[axis.target])[:, None] * axis.stride
        linked *= int((targets + np.arange(axis.taps) * axis.dilation + axis.offset == start).any(1).sum())
    followed = {axis.target for axis in projection.axes}
    free = (size for number, size in enumerate(projection.target_sizes) if number not in followed)
    return linked * prod(free)


def _kernel_bits(network: Network, reached: Mapping[str, list[Box]]) -> int:
    """Bits of all distinct weights that end in some boxes of populations."""
    slices: dict[str, list[Box]] = {}
    for name, boxes in reached.items():
        for number in network.into(name):
            projection = network.projections[number]
            for box in boxes:
                pieces = projection.target_pieces(box)
                slices.setdefault(projection.kernel, []).extend(projection.kernel_slice(p) for p in pieces)
    return sum(
        network.kernel(kernel).bits * union_size(dict.fromkeys(boxes)) for kernel, boxes in slices.items()
    )
