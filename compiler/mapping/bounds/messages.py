"""How few messages any mapping can need.

Each bound is a file: what the readers of a spike and their weights fill of cores says how many must hear it,
one group of twins at a time (`twins.py`); tiles before windows have seams (`seams.py`); readers
of random networks share little (`sharing.py`). Each spike is one population's, so that the bounds of
different populations add up; of those for the same populations the best is taken.
"""

from __future__ import annotations

from collections.abc import Mapping

from spikeloom.compiler.mapping.bounds.seams import least_by_seams, pairs_by_seams
from spikeloom.compiler.mapping.bounds.sharing import least_by_sharing
from spikeloom.compiler.mapping.bounds.twins import least_by_twins
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.network import Network, Population


def least_messages(network: Network, chip: Chip, rates: Mapping[str, float]) -> float:
    """Messages a step between cores that no mapping can do without, at some firing rates.

    Args:
        network: populations and projections; spikes of inputs come from outside and do not count.
        chip: limits of a core.
        rates: messages a neuron and step, by population.
    """
    least = {one.name: rates[one.name] * _least_of(network, chip, one) for one in network.placed}
    wholes, shared = least_by_sharing(network, chip, rates)
    if shared > sum(least[name] for name in wholes):
        least = {name: 0.0 if name in wholes else messages for name, messages in least.items()}
    else:
        wholes, shared = frozenset(), 0.0
    return sum(least.values()) + shared + _more_by_pairs(network, chip, rates, least, wholes)


def _least_of(network: Network, chip: Chip, population: Population) -> float:
    """Messages if every neuron of a population spikes once."""
    return max(least_by_twins(network, chip, population), least_by_seams(network, chip, population))


def _more_by_pairs(
    network: Network,
    chip: Chip,
    rates: Mapping[str, float],
    least: Mapping[str, float],
    taken: frozenset[str],
) -> float:
    """What pairs of populations need beyond what each needs alone; each is in one pair at most."""
    found = (
        (messages - least[first] - least[second], first, second)
        for first, second, messages in pairs_by_seams(network, chip, rates)
    )
    more = 0.0
    for gain, first, second in sorted(found, reverse=True):
        if gain > 0 and not taken & {first, second}:
            more += gain
            taken |= {first, second}
    return more
