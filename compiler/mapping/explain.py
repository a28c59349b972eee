"""Why a mapping is as large as it is: which limit binds each core, how far the provable bounds are, and what
larger cores or narrower weights would change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.bounds.cores import cores_by_limit, least_cores
from spikeloom.compiler.mapping.bounds.hops import least_hops
from spikeloom.compiler.mapping.bounds.messages import least_messages
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.explanation import Explanation, LayerBinding, Routing, WhatIf
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.partition import flow_pairs, map_network, places
from spikeloom.compiler.mapping.placement import Mapping
from spikeloom.compiler.mapping.placing.graph import talk_of
from spikeloom.compiler.mapping.routing.flows import Flows, all_flows, demands, distances, link_loads
from spikeloom.compiler.mapping.routing.trees import trees
from spikeloom.errors import UnsupportedError

TRIED = 600
"""Mappings of at most so many cores are made again under each change; of larger ones the bounds are given."""

LARGER = 2
"""A larger core holds so many times as much."""

NARROWEST = 2
"""Bits of the narrowest weight."""


def explain(mapping: Mapping, activity: MappingOf[str, float]) -> Explanation:
    """Explain a mapping.

    Args:
        mapping: of a network onto a chip.
        activity: messages per neuron and step that it was made for; those not named count as one.
    """
    network, chip = mapping.network, mapping.chip
    rates = {one.name: activity.get(one.name, 1.0) for one in network.populations}
    binding = [mapping.binding_limit(core)[0] for core in range(len(mapping.cores))]
    held = demands(network, mapping.tiles, len(mapping.cores))
    flows = all_flows(network, held)
    pairs, messages = flow_pairs(network, rates, flows)
    found = trees(network, held, rates, places(mapping.cores), chip)
    return Explanation(
        len(mapping.cores),
        mapping.bound.cores,
        mapping.load.messages,
        least_messages(network, chip, rates),
        mapping.load.hops,
        _sum(network, found.least_hops, rates)
        if chip.mesh.multicast
        else least_hops(talk_of(pairs, messages, len(mapping.cores)), chip.mesh),
        dict(Counter(binding).most_common()),
        cores_by_limit(network, chip),
        _layers(mapping, binding),
        tuple(
            _tried(change, net, other, rates, mapping)
            for change, net, other in _changes(network, chip, binding)
        ),
        _apart(mapping, flows, float(messages.sum()), rates),
        Routing(float(found.sent_by.sum()), _sum(network, found.hops, rates), float(found.links.max())),
    )


def _sum(network: Network, counts: NDArray[np.int64], rates: MappingOf[str, float]) -> float:
    """A count of every population as messages a step."""
    return float(counts @ np.array([rates[one.name] for one in network.populations]))


def _apart(mapping: Mapping, flows: Flows, sent: float, rates: MappingOf[str, float]) -> Routing:
    """What a message for each target puts on the mesh, where so many are sent."""
    columns, rows, _ = places(mapping.cores)
    per_neuron = np.array([rates[one.name] for one in mapping.network.populations])
    messages = flows.neurons * per_neuron[flows.population]
    links = link_loads(flows, messages, columns, rows, mapping.chip.routers)
    return Routing(sent, float(messages @ distances(flows, columns, rows)), float(links.max()))


def _layers(mapping: Mapping, binding: list[str]) -> tuple[LayerBinding, ...]:
    cores: dict[str, set[int]] = {one.name: set() for one in mapping.network.placed}
    for tile in mapping.tiles:
        cores[tile.population].add(tile.core)
    return tuple(
        LayerBinding(name, len(held), Counter(binding[core] for core in sorted(held)).most_common(1)[0][0])
        for name, held in cores.items()
    )


def _changes(network: Network, chip: Chip, binding: list[str]) -> Iterator[tuple[str, Network, Chip]]:
    if any(kernel.bits > NARROWEST for kernel in network.kernels):
        kernels = tuple(replace(one, bits=max(one.bits - 1, NARROWEST)) for one in network.kernels)
        yield "weights of one bit less", replace(network, kernels=kernels), chip
    names = [limit.name for limit in chip.limits]
    for name in sorted(set(binding), key=names.index):
        words = name.replace("_", " ")
        yield f"cores with {LARGER} times the {words}", network, _larger(chip, [name])
    yield f"cores {LARGER} times as large in everything", network, _larger(chip, names)


def _larger(chip: Chip, names: list[str]) -> Chip:
    limits = tuple(
        replace(one, value=one.value * LARGER) if one.name in names else one for one in chip.limits
    )
    return replace(chip, limits=limits)


def _tried(
    change: str, network: Network, chip: Chip, rates: MappingOf[str, float], mapping: Mapping
) -> WhatIf:
    """What our mapper needs then; where it does worse, the mapping at hand stands, since it fits."""
    bounds = least_cores(network, chip).cores, least_messages(network, chip, rates)
    here = len(mapping.cores)
    if here > TRIED:
        return WhatIf(change, None, None, *bounds)
    try:
        changed = map_network(network, chip, rates, mapping.seed)
    except UnsupportedError:
        return WhatIf(change, here, mapping.load.messages, *bounds)
    if len(changed.cores) > here:
        return WhatIf(change, here, mapping.load.messages, *bounds)
    return WhatIf(change, len(changed.cores), changed.load.messages, *bounds)
