"""From a network to a mapping: tiles, cores, slots, traffic."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.bounds import cores_by_limit, least_cores
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.merge import Group, merge
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.place import place
from spikeloom.compiler.mapping.placement import CoreUse, Load, Mapping, Tile, Traffic
from spikeloom.compiler.mapping.route import OUTSIDE, Flows, all_flows, busiest_link, distances
from spikeloom.compiler.mapping.tiles import Piece, TileChooser
from spikeloom.errors import Problem, UnsupportedError


def map_network(
    network: Network, chip: Chip, activity: MappingOf[str, float] | None = None, seed: int = 0
) -> Mapping:
    """Place a network on the cores of a chip.

    Args:
        network: populations and projections.
        chip: how many chips may be used is part of it.
        activity: messages per neuron and step of each population; those not named count as one.
        seed: of the placement. The same arguments give the same mapping.

    Raises:
        UnsupportedError: SL0603, for every limit that a single neuron exceeds; or the cores do not
            suffice.
    """
    rates = dict.fromkeys((population.name for population in network.populations), 1.0)
    rates |= activity or {}
    pieces = _cut(network, chip, rates)
    groups = merge(pieces, network, chip)
    if len(groups) > chip.cores:
        raise UnsupportedError(_too_many(network, chip, groups))
    tiles = tuple(Tile(p.population, p.box, core) for core, group in enumerate(groups) for p in group.pieces)
    flows = all_flows(network, tiles)
    messages = flows.neurons * np.array([rates[one.source] for one in network.projections])[flows.projection]
    talking = (flows.source != OUTSIDE) & (flows.source != flows.target)
    pairs = np.stack([flows.source, flows.target], 1)[talking]
    slots = place(pairs, messages[talking], len(groups), chip, seed)
    cores = _cores(network, chip, groups, slots)
    return Mapping(
        network,
        chip,
        tiles,
        cores,
        _traffic(network, flows, cores),
        _load(flows, messages, cores, chip),
        least_cores(network, chip),
        seed,
    )


def _cut(network: Network, chip: Chip, rates: MappingOf[str, float]) -> list[Piece]:
    chooser = TileChooser(network, chip, rates)
    pieces: list[Piece] = []
    problems: list[Problem] = []
    for population in network.placed:
        tiles, faults = chooser.choose(population)
        pieces += tiles
        problems += faults
    if problems:
        raise UnsupportedError(problems)
    return pieces


def _too_many(network: Network, chip: Chip, groups: Sequence[Group]) -> list[Problem]:
    """The cores do not suffice, and the limits that alone ask for more cores than there are."""
    chips = -(-len(groups) // chip.mesh.usable_cores)
    board = chip.board_for(chips)
    remedy = f"try --chips {chips} ({board.name} has {board.chips})" if board else "use a smaller network"
    short = Problem(
        "SL0603",
        network.name,
        f"needs more cores than {chip.chips} {chip.name} has" + ("" if chip.chips == 1 else " chips"),
        f"at most {chip.cores:,} cores",
        f"{len(groups):,}",
        remedy,
    )
    alone = [
        Problem(
            "SL0603",
            network.name,
            f"no mapping fits: {name} alone fills more cores than there are",
            f"at most {chip.cores:,} cores",
            f"{cores:,}",
            REMEDIES[name],
        )
        for name, cores in cores_by_limit(network, chip).items()
        if cores > chip.cores
    ]
    return [short, *alone]


REMEDIES = {
    "neurons": "use more chips, a smaller image or fewer channels",
    "neuron_groups": "use fewer thresholds a layer",
    "synaptic_memory": "use fewer bits a weight, or more chips",
    "core_memory": "use fewer bits a weight, or more chips",
    "axons_in": "use more chips, or fewer tokens",
}
"""What to change where a limit alone asks for more cores than there are."""


def _cores(
    network: Network, chip: Chip, groups: Sequence[Group], slots: NDArray[np.int64]
) -> tuple[CoreUse, ...]:
    cores = []
    for group, slot in zip(groups, slots.tolist(), strict=True):
        number, column, row = chip.position(slot)
        uses = group.demand.uses(network, chip)
        cores.append(CoreUse(slot, number, column, row, uses, _synapses(network, group.pieces)))
    return tuple(cores)


def _synapses(network: Network, group: Sequence[Piece]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for tile in group:
        for number in network.into(tile.population):
            projection = network.projections[number]
            ending = sum(projection.synapses(piece) for piece in projection.target_pieces(tile.box))
            counts[number] = counts.get(number, 0) + ending
    return counts


def _traffic(network: Network, flows: Flows, cores: Sequence[CoreUse]) -> tuple[Traffic, ...]:
    columns, rows, chips = _places(cores)
    remote = flows.source != flows.target
    hops = distances(flows, columns, rows)
    crossing = (chips[flows.source] != chips[flows.target]) & (flows.source != OUTSIDE)
    count = len(network.projections)
    sums = [
        np.bincount(flows.projection, weights, count).astype(np.int64).tolist()
        for weights in (flows.neurons * remote, flows.neurons * hops, flows.neurons * crossing)
    ]
    return tuple(Traffic(number, *values) for number, values in enumerate(zip(*sums, strict=True)))


def _load(flows: Flows, messages: NDArray[np.float64], cores: Sequence[CoreUse], chip: Chip) -> Load:
    columns, rows, chips = _places(cores)
    outside = flows.source == OUTSIDE
    talking = ~outside & (flows.source != flows.target)
    crossing = talking & (chips[flows.source] != chips[flows.target])
    return Load(
        float(messages[talking].sum()),
        float((messages * distances(flows, columns, rows)).sum()),
        float(messages[crossing].sum()),
        float(messages[outside].sum()),
        busiest_link(flows, messages, columns, rows, chip.routers),
    )


def _places(cores: Sequence[CoreUse]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    table = np.array([(core.column, core.row, core.chip) for core in cores], np.int64)
    return table[:, 0], table[:, 1], table[:, 2]
