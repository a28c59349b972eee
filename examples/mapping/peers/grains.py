"""What the partitioners of the literature move about: small blocks of neurons that all behave alike.

They work on neurons; a network of a million is cut into blocks of channels at a few positions instead,
which all get the same treatment and the same exact cost afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import tile_demand, violations
from spikeloom.compiler.mapping.network import Network, Population
from spikeloom.compiler.mapping.overlap import overlaps
from spikeloom.compiler.mapping.tiling.tiles import Blocks


@dataclass(frozen=True)
class Grain:
    """A block of neurons of one population."""

    population: str
    box: Box


@dataclass(frozen=True)
class Wiring:
    """Messages between grains: source and target of each pair, and spikes a step that the target reads."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    spikes: NDArray[np.float64]


def grains(network: Network, chip: Chip, least: int, most: int) -> list[Grain]:
    """Blocks of about ``least`` neurons each, at most about ``most`` in all, none above a quarter of a core.

    Channels of a place stay together, but for kernels of which a core holds only some: there a block
    has no more channels than half a core's memory. What alone exceeds a limit is halved until it does not.
    """
    total = sum(population.size for population in network.placed)
    size = min(max(least, -(-total // most)), chip.neurons // 4)
    found: list[Grain] = []
    for population in network.placed:
        sizes = _extents(population.shape, size, _channels(network, population, chip))
        for box in Blocks(sizes, even=True).boxes(population.shape):
            found += [Grain(population.name, part) for part in _fitting(network, population, chip, box)]
    return found


def _fitting(network: Network, population: Population, chip: Chip, box: Box) -> list[Box]:
    if box.size == 1 or not violations(tile_demand(network, population, box).uses(network, chip), chip):
        return [box]
    axis = max(range(len(box.shape)), key=lambda number: box.shape[number])
    start, stop = box.ranges[axis]
    halves = ((start, (start + stop) // 2), ((start + stop) // 2, stop))
    return [
        part
        for half in halves
        for part in _fitting(
            network, population, chip, Box((*box.ranges[:axis], half, *box.ranges[axis + 1 :]))
        )
    ]


def _channels(network: Network, population: Population, chip: Chip) -> int:
    limit = chip.limit("synaptic_memory")
    kernels = {network.projections[number].kernel for number in network.into(population.name)}
    bits = sum(prod(network.kernel(name).shape) * network.kernel(name).bits for name in kernels)
    room = bits if limit is None else limit.value * chip.encoding.word_bits // 2
    return max(population.shape[0] * min(room, bits) // max(bits, 1), 1)


def _extents(shape: tuple[int, ...], size: int, most_channels: int) -> tuple[int, ...]:
    channels = min(shape[0], size, most_channels)
    room = max(size // channels, 1)
    extents = [channels]
    for number, extent in enumerate(shape[1:]):
        left = len(shape) - 1 - number
        extents.append(min(extent, max(round(room ** (1 / left)), 1)))
        room = max(room // extents[-1], 1)
    return tuple(extents)


def wiring(network: Network, parts: Sequence[Grain], rates: Mapping[str, float]) -> Wiring:
    """Who sends to whom, and how much."""
    holding: dict[str, list[int]] = {}
    reading: dict[str, tuple[list[int], list[Box]]] = {}
    for number, grain in enumerate(parts):
        holding.setdefault(grain.population, []).append(number)
        demand = tile_demand(network, network.population(grain.population), grain.box)
        for name, boxes in demand.reads.items():
            numbers, found = reading.setdefault(name, ([], []))
            numbers += [number] * len(boxes)
            found += boxes
    columns: list[list[NDArray[Any]]] = [[], [], []]
    for name, held in holding.items():
        readers, wanted = reading.get(name, ([], []))
        first, second, shared = overlaps([parts[number].box for number in held], wanted)
        columns[0].append(np.array(held, np.int64)[first])
        columns[1].append(np.array(readers, np.int64)[second])
        columns[2].append(shared * rates[name])
    source, target, spikes = (np.concatenate(column) for column in columns)
    return Wiring(source.astype(np.int64), target.astype(np.int64), spikes)
