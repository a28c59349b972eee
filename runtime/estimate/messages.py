"""What the messages of a network are: spikes, numbers, or something from every neuron in every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeloom.compiler.mapping.network import Network, Population

KINDS = ("binary", "graded", "dense")


@dataclass(frozen=True)
class Messages:
    """Messages a step, of all populations together.

    A figure of sparsity that counts the spikes of neuron layers alone leaves out what carries membranes:
    relays and accumulators send a number from every neuron in every step. Nothing is left out here.

    Attributes:
        binary: spikes; a neuron sends 1 or nothing.
        graded: numbers that are sent where they are not 0: graded spikes, products, inputs of several levels.
        dense: numbers that are sent in every step.
        places: neurons that could send in a step.
    """

    binary: float
    graded: float
    dense: float
    places: float

    @property
    def total(self) -> float:
        """All messages of a step."""
        return self.binary + self.graded + self.dense

    def to_json(self) -> dict[str, float]:
        """Messages a step and the share of each kind; ``rate`` is messages over neurons that could send."""
        kinds = {kind: float(getattr(self, kind)) for kind in KINDS}
        shares = {f"{kind}_share": value / self.total if self.total else 0.0 for kind, value in kinds.items()}
        return kinds | shares | {"rate": self.total / self.places}


def messages_sent(network: Network, rates: Mapping[str, float]) -> Messages:
    """The messages that the populations of a network send in a step, inputs among them.

    Args:
        network: populations and projections.
        rates: messages per neuron and step of each population.
    """
    sending = [one for one in network.populations if one.role != "readout"]
    sent = dict.fromkeys(KINDS, 0.0)
    for one in sending:
        sent[_kind(one)] += one.size * rates[one.name]
    return Messages(**sent, places=float(sum(one.size for one in sending)))


def _kind(population: Population) -> str:
    if population.role == "accumulator" and not population.value:
        return "dense"
    low, high = population.bounds
    return "binary" if low >= 0 and high <= 1 else "graded"
