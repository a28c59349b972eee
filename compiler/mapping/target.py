"""What a target is whose networks are placed on cores."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.target import Target
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.lowering_cost import LoweringCost
from spikeloom.compiler.mapping.network import Network


@runtime_checkable
class ChipTarget(Target, Protocol):
    """A chip of many cores: it says what its cores hold, and what a graph becomes on them."""

    def chip(self) -> Chip:
        """The chip, one of it."""
        ...

    def lower(self, graph: Graph) -> Network:
        """The populations and projections that an integer graph becomes; no number changes.

        Raises:
            UnsupportedError: SL0602, the target cannot execute an operation; all are listed.
        """
        ...


@runtime_checkable
class PricedTarget(ChipTarget, Protocol):
    """A chip that tells what became of each operation, and what that costs."""

    def lowering_cost(self, graph: Graph) -> LoweringCost:
        """Neurons and synapses by operation, forms of attention, latency and delays.

        Raises:
            UnsupportedError: as :meth:`ChipTarget.lower`.
        """
        ...
