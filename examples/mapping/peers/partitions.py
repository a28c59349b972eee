"""How the literature cuts a network into clusters, one a core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from examples.mapping.peers.grains import Grain, Wiring, wiring
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import Demand, tile_demand, violations
from spikeloom.compiler.mapping.network import Network, Population
from spikeloom.compiler.mapping.tiling.tiles import Blocks, TileChooser

Clusters = list[list[Grain]]
CANDIDATES = 4
"""Clusters that the streaming partition tries for a block before it opens a new one."""


def layer_tiles(network: Network, chip: Chip, rates: Mapping[str, float]) -> Clusters:
    """NxTF (Rueckauer et al., 2021): each layer by itself into tiles that share kernels, one tile a core.

    Variant: of all tiles of equal shape those that need the fewest cores, of these the least traffic;
    NxTF's own cost function is not public in full.
    """
    chooser = TileChooser(network, chip, rates)
    found: Clusters = []
    for population in network.placed:
        pieces, _ = chooser.choose(population)
        found += [[Grain(piece.population, piece.box)] for piece in pieces]
    return found


def block_split(network: Network, chip: Chip) -> Clusters:
    """nengo-loihi's split: consecutive slices of equal size, as many as the worst of four ratios asks for.

    As published a slice may still exceed a limit, and slices of different layers never share a core.
    """
    found: Clusters = []
    for population in network.placed:
        uses = tile_demand(network, population, Box.whole(population.shape)).uses(network, chip)
        ratios = [-(-uses[limit.name] // limit.value) for limit in chip.limits if limit.name != "fan_in"]
        boxes = Blocks(_slices(population, max(ratios)), even=True).boxes(population.shape)
        found += [[Grain(population.name, box)] for box in boxes]
    return found


def _slices(population: Population, parts: int) -> tuple[int, ...]:
    """Extents of consecutive slices, rounded to whole rows of an axis."""
    sizes = list(population.shape)
    for axis, extent in enumerate(population.shape):
        sizes[axis] = max(extent // min(parts, extent), 1)
        parts = -(-parts // -(-extent // sizes[axis]))
        if parts == 1:
            break
    return tuple(sizes)


def sequential(network: Network, chip: Chip, parts: Sequence[Grain], all_limits: bool) -> Clusters:
    """Jin et al., ASPLOS 2023: blocks in topological order into a core until it is full.

    Variant: ``all_limits`` opens a new core where any limit would be exceeded, not neurons alone.
    """
    if not all_limits:
        return _by_neurons(chip, parts)
    found: Clusters = []
    held: Demand | None = None
    for grain in parts:
        demand = tile_demand(network, network.population(grain.population), grain.box)
        both = demand if held is None else held.with_tile(demand)
        if held is None or violations(both.uses(network, chip), chip):
            found.append([])
            both = demand
        found[-1].append(grain)
        held = both
    return found


def _by_neurons(chip: Chip, parts: Sequence[Grain]) -> Clusters:
    found: Clusters = []
    filled = chip.neurons
    for grain in parts:
        if filled + grain.box.size > chip.neurons:
            found.append([])
            filled = 0
        found[-1].append(grain)
        filled += grain.box.size
    return found


def streaming(
    network: Network, chip: Chip, parts: Sequence[Grain], rates: Mapping[str, float], all_limits: bool
) -> Clusters:
    """EdgeMap (Xue et al., 2023): each block to the cluster that it exchanges most spikes with, if it fits.

    Variant: one pass in topological order; the published one reads edges, which for blocks is the same.
    """
    wires = wiring(network, parts, rates)
    beside = _neighbours(wires, len(parts))
    cluster_of = np.full(len(parts), -1, np.int64)
    found: list[list[int]] = []
    held: list[Demand | int] = []
    for number, grain in enumerate(parts):
        more: Demand | int = grain.box.size
        if all_limits:
            more = tile_demand(network, network.population(grain.population), grain.box)
        others, spikes = beside[number]
        known = cluster_of[others] >= 0
        ties = np.bincount(cluster_of[others[known]], spikes[known], len(found)) if found else np.zeros(0)
        order = np.argsort(-ties, kind="stable")[:CANDIDATES].tolist() + [len(found) - 1] * bool(found)
        for cluster in order:
            both = _joined(held[cluster], more)
            if _fits(both, network, chip):
                held[cluster] = both
                found[cluster].append(number)
                break
        else:
            cluster = len(found)
            found.append([number])
            held.append(more)
        cluster_of[number] = cluster
    return [[parts[number] for number in cluster] for cluster in found]


def exchange(
    network: Network, chip: Chip, parts: Sequence[Grain], rates: Mapping[str, float], passes: int = 6
) -> Clusters:
    """SpiNeMap's first step (Balaji et al., 2019): spikes between clusters, made few by Kernighan and Lin.

    Variant: moves of single blocks with the best gain into clusters with room for their neurons, from the
    sequential order, until a pass finds none. As published it knows neurons, and no shared kernels.
    """
    start = sequential(network, chip, parts, all_limits=False)
    beside = _neighbours(wiring(network, parts, rates), len(parts))
    sizes = np.array([grain.box.size for grain in parts])
    cluster_of = np.repeat(np.arange(len(start)), [len(cluster) for cluster in start])
    filled = np.bincount(cluster_of, sizes, len(start))
    for _ in range(passes):
        moved = 0
        for number in range(len(parts)):
            others, spikes = beside[number]
            ties = np.bincount(cluster_of[others], spikes, len(start))
            room = filled + sizes[number] <= chip.neurons
            here = cluster_of[number]
            room[here] = True
            best = int(np.argmax(np.where(room, ties, -1.0)))
            if ties[best] > ties[here]:
                filled[here] -= sizes[number]
                filled[best] += sizes[number]
                cluster_of[number] = best
                moved += 1
        if not moved:
            break
    clusters: Clusters = [[] for _ in start]
    for grain, cluster in zip(parts, cluster_of.tolist(), strict=True):
        clusters[cluster].append(grain)
    return [cluster for cluster in clusters if cluster]


def hypergraph(
    network: Network, chip: Chip, parts: Sequence[Grain], rates: Mapping[str, float]
) -> Clusters | None:
    """Mt-KaHyPar (Gottesbüren et al.), deterministic preset, connectivity; None where it is not installed.

    Nets are the neurons of a block with those that read any of them; neurons are its only capacity.
    """
    try:
        import mtkahypar
    except ImportError:
        return None
    wires = wiring(network, parts, rates)
    order = np.argsort(wires.source, kind="stable")
    source, target, spikes = wires.source[order], wires.target[order], wires.spikes[order]
    edges = np.split(target, np.searchsorted(source, np.arange(1, len(parts))))
    weights = np.split(spikes, np.searchsorted(source, np.arange(1, len(parts))))
    nets = [sorted({number, *net.tolist()}) for number, net in enumerate(edges)]
    loads = [max(int(load.max(initial=0.0)), 1) for load in weights]
    sizes = [grain.box.size for grain in parts]
    keep = [number for number, net in enumerate(nets) if len(net) > 1]
    library = mtkahypar.initialize(1)
    context = library.context_from_preset(mtkahypar.PresetType.DETERMINISTIC)
    clusters = -(-sum(sizes) * 103 // 100 // chip.neurons)
    context.set_partitioning_parameters(clusters, 0.03, mtkahypar.Objective.KM1)
    mtkahypar.set_seed(0)
    graph = library.create_hypergraph(
        context, len(parts), len(keep), [nets[n] for n in keep], sizes, [loads[n] for n in keep]
    )
    cut = graph.partition(context)
    found: Clusters = [[] for _ in range(clusters)]
    for number, grain in enumerate(parts):
        found[cut.block_id(number)].append(grain)
    return [cluster for cluster in found if cluster]


def _joined(held: Demand | int, more: Demand | int) -> Demand | int:
    if isinstance(held, Demand) and isinstance(more, Demand):
        return held.with_tile(more)
    assert isinstance(held, int)
    assert isinstance(more, int)
    return held + more


def _fits(held: Demand | int, network: Network, chip: Chip) -> bool:
    """Whether neurons alone, or all that is needed, keep the limits of a core."""
    if isinstance(held, int):
        return held <= chip.neurons
    return held.neurons <= chip.neurons and not violations(held.uses(network, chip), chip)


def _neighbours(wires: Wiring, count: int) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    ends = np.concatenate([wires.source, wires.target])
    others = np.concatenate([wires.target, wires.source])
    spikes = np.concatenate([wires.spikes, wires.spikes])
    order = np.argsort(ends, kind="stable")
    edges = np.searchsorted(ends[order], np.arange(1, count))
    return list(zip(np.split(others[order], edges), np.split(spikes[order], edges), strict=True))
