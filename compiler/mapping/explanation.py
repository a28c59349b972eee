"""What is said of a mapping: why it is as large as it is, and what would change that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spikeloom.errors import InputError


@dataclass(frozen=True)
class WhatIf:
    """The same network after a change.

    Attributes:
        change: what is other.
        cores, messages: that our mapper needs then; None where it was not tried, or nothing fits.
        least_cores, least_messages: the bounds.
    """

    change: str
    cores: int | None
    messages: float | None
    least_cores: int
    least_messages: float


@dataclass(frozen=True)
class LayerBinding:
    """A population: how many cores hold some of it, and the limit that binds most of these."""

    population: str
    cores: int
    limit: str


@dataclass(frozen=True)
class Routing:
    """What one way of sending spikes puts on the mesh in a time step, on routes along the row first.

    Attributes:
        sent: messages that cores send.
        hops: from router to router.
        busiest_link: messages on the link that carries most.
    """

    sent: float
    hops: float
    busiest_link: float


@dataclass(frozen=True)
class Explanation:
    """Why a mapping is as it is. Messages and hops are a time step's.

    Attributes:
        cores, least_cores: in use, and the bound.
        messages, least_messages: between cores, and the bound over all mappings.
        hops, least_hops: and the bound over all placements of these tiles; of the routing that the chip has.
        binding: how many cores use each limit more than any other.
        alone: the cores that each limit alone asks for.
        layers: every population.
        what_if: changes of the chip and of the weights.
        unicast: a message for each target, from the core that sends.
        multicast: of the same placement, if routers copy messages where the routes part. Bundles of before
            have neither.
    """

    cores: int
    least_cores: int
    messages: float
    least_messages: float
    hops: float
    least_hops: float
    binding: Mapping[str, int]
    alone: Mapping[str, int]
    layers: tuple[LayerBinding, ...]
    what_if: tuple[WhatIf, ...]
    unicast: Routing | None = None
    multicast: Routing | None = None

    def to_json(self) -> dict[str, Any]:
        """The explanation as a JSON object."""
        return {
            **vars(self),
            "binding": dict(self.binding),
            "alone": dict(self.alone),
            "layers": [vars(one) for one in self.layers],
            "what_if": [vars(one) for one in self.what_if],
            "unicast": None if self.unicast is None else vars(self.unicast),
            "multicast": None if self.multicast is None else vars(self.multicast),
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Explanation:
        """The explanation again.

        Raises:
            InputError: SL0703, the document is not of this version.
        """
        try:
            layers = tuple(LayerBinding(**one) for one in document["layers"])
            what_if = tuple(WhatIf(**one) for one in document["what_if"])
            routings = {
                name: Routing(**document[name])
                for name in ("unicast", "multicast")
                if document.get(name) is not None
            }
            return Explanation(**{**document, "layers": layers, "what_if": what_if, **routings})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError.of("SL0703", "explanation", f"does not explain a mapping: {error}") from error
