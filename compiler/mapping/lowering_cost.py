"""What an integer graph costs on a chip: neurons and synapses by operation, and the time they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class OperationCost:
    """What all nodes of one operation became; an operation that costs nothing has no such row.

    Attributes:
        operation: of the graph, as ``spikeloom ops`` lists it.
        populations, neurons: made for it.
        synapses: that end in these neurons.
    """

    operation: str
    populations: int
    neurons: int
    synapses: int


@dataclass(frozen=True)
class AttentionCost:
    """What one way to execute two products in a row costs, and whether it was taken.

    Attributes:
        nodes: the outer products that cost the same, which the graph executes alike.
        form: a name for the way.
        chip_steps: of one time step of the network, that the way needs.
        neurons, synapses: of one such pair of products.
        latency: chip steps from its operands to what reads its result.
        taken: whether the graph asks for this way.
    """

    nodes: tuple[str, ...]
    form: str
    chip_steps: int
    neurons: int
    synapses: int
    latency: int
    taken: bool


@dataclass(frozen=True)
class LoweringCost:
    """What lowering a graph cost.

    Attributes:
        operations: in the order of the data flow.
        neurons: on cores, by what it takes to run them.
        attention: the ways to execute each attention.
        chip_steps: of one time step of the network.
        latency: chip steps from an input to the output that stands for the same time step.
        delay_slots: steps that synapses wait for paths of other lengths, over all neurons that they end in.
        host: nodes of the graph that the host computes from what the chip sends.
    """

    operations: tuple[OperationCost, ...]
    neurons: Mapping[str, int]
    attention: tuple[AttentionCost, ...]
    chip_steps: int
    latency: int
    delay_slots: int
    host: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The cost as a JSON object."""
        return asdict(self)
