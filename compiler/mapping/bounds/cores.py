"""What no mapping can do better."""

from __future__ import annotations

from math import prod

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import axon_box
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.placement import Bound


def least_cores(network: Network, chip: Chip) -> Bound:
    """The most cores that any single limit asks for.

    What a core could do about two limits at once is not looked at, so that the bound may be out of
    reach.
    """
    needed = cores_by_limit(network, chip)
    name = max(needed, key=lambda key: needed[key])
    return Bound(max(needed[name], 1), name)


def cores_by_limit(network: Network, chip: Chip) -> dict[str, int]:
    """The cores that each limit alone asks for.

    A neuron, its state and its parameter group are on at least one core, every weight is stored at
    least once (without header, index or padding), and every axon that is read arrives at least once.
    """
    totals = _totals(network, chip)
    return {
        limit.name: -(-totals[limit.name] // limit.value) for limit in chip.limits if limit.name in totals
    }


def _totals(network: Network, chip: Chip) -> dict[str, int]:
    placed = network.placed
    bits = sum(prod(kernel.shape) * kernel.bits for kernel in network.kernels)
    return {
        "neurons": sum(population.size for population in placed),
        "neuron_groups": len(
            {p.group_name(group) for p in placed for group in p.groups_in(Box.whole(p.shape))}
        ),
        "synaptic_memory": -(-bits // chip.encoding.word_bits),
        "core_memory": -(-bits // 8) + sum(p.size * p.state_bytes for p in placed),
        "axons_in": sum(_axons(network, number) for number in range(len(network.projections))),
    }


def _axons(network: Network, number: int) -> int:
    projection = network.projections[number]
    read = projection.need(Box.whole(projection.target_sizes))
    return 0 if read is None else axon_box(projection, read).size
