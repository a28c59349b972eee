"""What each core has to do in one time step, from the mapping and the measured activity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping


@dataclass(frozen=True)
class CoreLoad:
    """Work of one core, means per time step of the network.

    Attributes:
        updates: neurons that are updated, in every chip step.
        synaptic: synaptic operations: a message that arrives times its non-zero weights here.
        messages: neurons that send.
    """

    updates: float
    synaptic: float
    messages: float


def core_loads(mapping: ChipMapping, rates: Mapping[str, float]) -> dict[int, CoreLoad]:
    """The load of every core that is used.

    Args:
        mapping: a network on cores.
        rates: messages per neuron and step, by population.
    """
    loads: dict[int, list[float]] = {}
    for tile in mapping.tiles:
        load = loads.setdefault(tile.core, [0.0, 0.0, 0.0])
        load[0] += tile.box.size * mapping.network.steps
        load[1] += synaptic_operations(mapping.network, tile.population, tile.box, rates)
        load[2] += tile.box.size * rates[tile.population]
    return {core: CoreLoad(*load) for core, load in sorted(loads.items())}


def synaptic_operations(network: Network, population: str, box: Box, rates: Mapping[str, float]) -> float:
    """Synaptic operations that end in a box of a population, per time step.

    Inputs are taken to be as active as their population is on the average, and the weights of a
    kernel that are zero to be spread evenly over its synapses.
    """
    operations = 0.0
    for number in network.into(population):
        projection = network.projections[number]
        synapses = sum(projection.synapses(piece) for piece in projection.target_pieces(box))
        operations += synapses * network.kernel(projection.kernel).density * rates[projection.source]
    return operations


def pipeline_depth(network: Network) -> int:
    """Chip steps from an input spike to the output: the hops on the longest path, and what slots take."""
    length = {population.name: 1 + population.late for population in network.populations}
    depth = {population.name: 0 for population in network.populations}
    for population in network.populations:
        sources = [network.projections[number].source for number in network.into(population.name)]
        depth[population.name] = max((depth[source] + length[source] for source in sources), default=0)
    return max(depth[name] for name in network.outputs)
