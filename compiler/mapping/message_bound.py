"""How few messages any mapping can need.

Each bound is a file: what the readers of a spike and their weights fill of cores says how many must hear
it, one group of twins at a time (`bound_twins.py`); how little readers of random networks share
(`bound_sharing.py`). No message counts twice: each is a spike of one population, and each population is
bound in one way, the best.
"""

from __future__ import annotations

from collections.abc import Mapping

from spikeloom.compiler.mapping.bound_sharing import least_by_sharing
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
    least = {one.name: rates[one.name] * least_by_twins(network, chip, one) for one in network.placed}
    wholes, shared = least_by_sharing(network, chip, rates)
    twins = sum(least[name] for name in wholes)
    return sum(least.values()) - twins + max(twins, shared)
