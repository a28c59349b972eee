"""What delays cost: a slot of a neuron's accumulator for each step that a synapse of it waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from spikeloom.compiler.mapping.network import Network
from spikeloom.targets.loihi.retime import Edge, Timing


def with_slots(
    network: Network, timing: Timing, late_by: Mapping[Edge, int], slot_bytes: int
) -> tuple[Network, Timing]:
    """The network with the slots of each neuron in its state, and the timing with the slots of all.

    Args:
        network: what is lowered.
        timing: its depths and delays.
        late_by: chip steps by which the latest synapse of an edge waits beyond the delay.
        slot_bytes: of one slot.
    """
    slots: dict[str, int] = {}
    for edge, wait in timing.delays.items():
        slots[edge[1]] = max(slots.get(edge[1], 0), wait + late_by.get(edge, 0))
    populations = tuple(
        replace(one, state_bytes=one.state_bytes + slot_bytes * slots.get(one.name, 0))
        for one in network.populations
    )
    cost = sum(one.size * slots.get(one.name, 0) for one in populations)
    return replace(network, populations=populations), replace(timing, cost=cost)
