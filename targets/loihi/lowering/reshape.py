"""Another shape: a renaming of axes."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.targets.loihi.lowering.rule import Lowering, register


@register(Reshape)
def lower(state: Lowering, node: Node) -> None:
    """The elements stay where they are."""
    op = node.op
    assert isinstance(op, Reshape)
    shape = op.shape
    state.terms[node.output] = state.carry(node.inputs[0], lambda relation: relation.reshape(shape), node)
