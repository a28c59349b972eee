"""Another order of axes: a renaming."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.targets.loihi.lowering.rule import Lowering, register


@register(Transpose)
def lower(state: Lowering, node: Node) -> None:
    """The elements stay where they are."""
    op = node.op
    assert isinstance(op, Transpose)
    order = op.order
    state.terms[node.output] = state.carry(node.inputs[0], lambda relation: relation.transpose(order), node)
