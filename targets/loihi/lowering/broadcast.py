"""Axes of one element repeated: one neuron projects to many."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.targets.loihi.lowering.rule import Lowering, register


@register(Broadcast)
def lower(state: Lowering, node: Node) -> None:
    """No neurons: what follows reads the same one at each index."""
    op = node.op
    assert isinstance(op, Broadcast)
    shape = op.shape
    state.terms[node.output] = state.carry(node.inputs[0], lambda relation: relation.spread(shape), node)
