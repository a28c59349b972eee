"""From a network to a mapping: tiles, cores, slots, traffic."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.bounds.cores import cores_by_limit, least_cores
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import Demand
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.placement import CoreUse, Links, Load, Mapping, Tile, Traffic
from spikeloom.compiler.mapping.placing.graph import talk_of
from spikeloom.compiler.mapping.placing.place import place
from spikeloom.compiler.mapping.placing.trees import forest_of, place_for_trees
from spikeloom.compiler.mapping.routing.fanout import fanouts
from spikeloom.compiler.mapping.routing.flows import OUTSIDE, Flows, all_flows, distances, link_loads
from spikeloom.compiler.mapping.routing.trees import Trees, trees
from spikeloom.compiler.mapping.settling.settle import settle
from spikeloom.compiler.mapping.tiling.cut import SLACK, cut
from spikeloom.compiler.mapping.tiling.pack import Group
from spikeloom.errors import Problem, UnsupportedError, counted


def map_network(
    network: Network,
    chip: Chip,
    activity: MappingOf[str, float] | None = None,
    seed: int = 0,
    slack: float = SLACK,
) -> Mapping:
    """Place a network on the cores of a chip.

    Args:
        network: populations and projections.
        chip: how many chips may be used is part of it.
        activity: messages per neuron and step of each population; those not named count as one.
        seed: of the placement and of the moves of tiles. The same arguments give the same mapping.
        slack: times the bound on cores that may be used to save messages, if so few can be reached.

    Raises:
        UnsupportedError: SL0603, for every limit that a single neuron exceeds; or the cores do not
            suffice.
    """
    rates = dict.fromkeys((population.name for population in network.populations), 1.0)
    rates |= activity or {}
    groups = cut(network, chip, rates, slack)
    if len(groups) > chip.cores:
        raise UnsupportedError(_too_many(network, chip, groups))
    held = [group.demand for group in groups]
    flows = all_flows(network, held)
    pairs, messages = flow_pairs(network, rates, flows)
    slots = place(pairs, messages, len(groups), chip, seed)
    groups, slots, flows = _settled(network, chip, rates, groups, slots, flows, seed)
    held = [group.demand for group in groups]
    if chip.mesh.multicast:
        slots = for_trees(network, chip, rates, held, slots, flows, seed)
    tiles = tuple(Tile(p.population, p.box, core) for core, group in enumerate(groups) for p in group.pieces)
    return assemble(network, chip, rates, tiles, held, slots, flows, seed)


def for_trees(
    network: Network,
    chip: Chip,
    rates: MappingOf[str, float],
    held: Sequence[Demand],
    slots: NDArray[np.int64],
    flows: Flows,
    seed: int,
) -> NDArray[np.int64]:
    """Better slots for cores whose messages are copied by routers; arguments as of :func:`assemble`."""
    pairs, messages = flow_pairs(network, rates, flows)
    per_neuron = [rates[one.name] for one in network.populations]
    forest = forest_of(fanouts(network, held), per_neuron, len(held))
    return place_for_trees(slots, talk_of(pairs, messages, len(held)), forest, chip, seed)


def _settled(
    network: Network,
    chip: Chip,
    rates: MappingOf[str, float],
    groups: list[Group],
    slots: NDArray[np.int64],
    flows: Flows,
    seed: int,
) -> tuple[list[Group], NDArray[np.int64], Flows]:
    """Tiles and cores with fewer hops and messages, and the flows between them."""
    settled, places = settle(network, chip, rates, groups, slots, seed)
    if settled == groups:
        return groups, slots, flows
    return settled, places, all_flows(network, [group.demand for group in settled])


def flow_pairs(
    network: Network, rates: MappingOf[str, float], flows: Flows
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs [flows, 2] of different cores that exchange messages, and the messages a step of each."""
    messages = flows.neurons * np.array([rates[one.name] for one in network.populations])[flows.population]
    talking = (flows.source != OUTSIDE) & (flows.source != flows.target)
    return np.stack([flows.source, flows.target], 1)[talking], messages[talking]


def assemble(
    network: Network,
    chip: Chip,
    rates: MappingOf[str, float],
    tiles: tuple[Tile, ...],
    held: Sequence[Demand],
    slots: NDArray[np.int64],
    flows: Flows,
    seed: int,
) -> Mapping:
    """The mapping with all that follows from tiles and slots.

    Args:
        network: what is mapped.
        chip: onto what.
        rates: messages a neuron and step, by population.
        tiles: each on a core.
        held: what is on each core and what it needs.
        slots: of every core.
        flows: between the cores.
        seed: of the placement.
    """
    messages = flows.neurons * np.array([rates[one.name] for one in network.populations])[flows.population]
    cores = _cores(network, chip, held, slots, flows, messages)
    links = _links(flows, messages, cores, chip)
    traffic, load = _traffic(network, flows, cores), _load(flows, messages, cores, links)
    apart = Mapping(network, chip, tiles, cores, traffic, load, links, least_cores(network, chip), seed)
    if not chip.mesh.multicast:
        return apart
    return on_trees(apart, trees(network, held, rates, places(cores), chip), rates)


def on_trees(mapping: Mapping, found: Trees, rates: MappingOf[str, float]) -> Mapping:
    """The mapping with the traffic that there is where routers copy messages.

    Args:
        mapping: with a message for each target.
        found: the trees of its routes.
        rates: messages a neuron and step, by population.
    """
    per_neuron = np.array([rates[one.name] for one in mapping.network.populations])
    inside = np.array([one.role != "input" for one in mapping.network.populations])
    links = _lanes(found.links)
    counts = zip(found.hops.tolist(), found.crossings.tolist(), found.sent.tolist(), strict=True)
    by_name = dict(zip((one.name for one in mapping.network.populations), counts, strict=True))
    return replace(
        mapping,
        cores=tuple(
            replace(core, sent=sent) for core, sent in zip(mapping.cores, found.sent_by.tolist(), strict=True)
        ),
        traffic=tuple(
            Traffic(one.population, one.messages, *by_name[one.population]) for one in mapping.traffic
        ),
        load=Load(
            mapping.load.messages,
            float(found.hops @ per_neuron),
            float(found.crossings @ per_neuron),
            float((found.sent * ~inside) @ per_neuron),
            links.busiest,
            float((found.sent * inside) @ per_neuron),
        ),
        links=links,
    )


def _too_many(network: Network, chip: Chip, groups: Sequence[Group]) -> list[Problem]:
    """The cores do not suffice, and the limits that alone ask for more cores than there are."""
    chips = -(-len(groups) // chip.mesh.usable_cores)
    board = chip.board_for(chips)
    remedy = f"try --chips {chips} ({board.name} has {board.chips})" if board else "use a smaller network"
    short = Problem(
        "SL0603",
        network.name,
        f"needs more cores than {chip.chips} {chip.name} has" + ("" if chip.chips == 1 else " chips"),
        f"at most {counted(chip.cores, 'core')}",
        f"{len(groups):,}",
        remedy,
    )
    alone = [
        Problem(
            "SL0603",
            network.name,
            f"no mapping fits: {name} alone fills more cores than there are",
            f"at most {counted(chip.cores, 'core')}",
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
    network: Network,
    chip: Chip,
    held: Sequence[Demand],
    slots: NDArray[np.int64],
    flows: Flows,
    messages: NDArray[np.float64],
) -> tuple[CoreUse, ...]:
    talking = (flows.source != OUTSIDE) & (flows.source != flows.target)
    sent, received = (
        np.bincount(end[talking], messages[talking], len(held)).tolist()
        for end in (flows.source, flows.target)
    )
    return tuple(
        CoreUse(slot, *chip.position(slot), demand.uses(network, chip), sent[core], received[core])
        for core, (demand, slot) in enumerate(zip(held, slots.tolist(), strict=True))
    )


def _links(flows: Flows, messages: NDArray[np.float64], cores: Sequence[CoreUse], chip: Chip) -> Links:
    columns, rows, _ = places(cores)
    return _lanes(link_loads(flows, messages, columns, rows, chip.routers))


def _lanes(loads: NDArray[np.float64]) -> Links:
    return Links(*(tuple(map(tuple, lanes)) for lanes in loads.tolist()))


def _traffic(network: Network, flows: Flows, cores: Sequence[CoreUse]) -> tuple[Traffic, ...]:
    columns, rows, chips = places(cores)
    remote = flows.source != flows.target
    hops = distances(flows, columns, rows)
    crossing = (chips[flows.source] != chips[flows.target]) & (flows.source != OUTSIDE)
    count = len(network.populations)
    sums = [
        np.bincount(flows.population, weights, count).astype(np.int64).tolist()
        for weights in (flows.neurons * remote, flows.neurons * hops, flows.neurons * crossing)
    ]
    names = [one.name for one in network.populations if network.out_of(one.name)]
    by_name = {
        one.name: Traffic(one.name, arriving, way, crossed, arriving)
        for one, arriving, way, crossed in zip(network.populations, *sums, strict=True)
    }
    return tuple(by_name[name] for name in names)


def _load(flows: Flows, messages: NDArray[np.float64], cores: Sequence[CoreUse], links: Links) -> Load:
    columns, rows, chips = places(cores)
    outside = flows.source == OUTSIDE
    talking = ~outside & (flows.source != flows.target)
    crossing = talking & (chips[flows.source] != chips[flows.target])
    return Load(
        float(messages[talking].sum()),
        float((messages * distances(flows, columns, rows)).sum()),
        float(messages[crossing].sum()),
        float(messages[outside].sum()),
        links.busiest,
        float(messages[talking].sum()),
    )


def places(cores: Sequence[CoreUse]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Column, row and chip of the router of each core."""
    table = np.array([(core.column, core.row, core.chip) for core in cores], np.int64)
    return table[:, 0], table[:, 1], table[:, 2]
