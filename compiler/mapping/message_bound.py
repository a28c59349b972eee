"""How few messages any mapping can need.

What the readers of a spike and their weights fill of cores says how many cores must hear it: counted one
group of twins at a time (`bound_twins.py`). No message counts twice: each is a spike of one population.
"""

from __future__ import annotations

from collections.abc import Mapping

from spikeloom.compiler.mapping.bound_twins import least_by_twins
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.network import Network


def least_messages(network: Network, chip: Chip, rates: Mapping[str, float]) -> float:
    """Messages a step between cores that no mapping can do without, at some firing rates.

    Args:
        network: populations and projections; spikes of inputs come from outside and do not count.
        chip: limits of a core.
        rates: messages a neuron and step, by population.
    """
    return sum(rates[one.name] * least_by_twins(network, chip, one) for one in network.placed)
