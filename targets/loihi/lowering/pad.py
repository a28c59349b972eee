"""A border: elements that no neuron stands for."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.targets.loihi.lowering.rule import Lowering, register


@register(Pad)
def lower(state: Lowering, node: Node) -> None:
    """No neurons: what follows receives nothing from the border, and what the border holds as a constant."""
    op = node.op
    assert isinstance(op, Pad)
    before, after = op.before, op.after

    def widen(relation: Relation) -> Relation:
        for axis, widths in enumerate(zip(before, after, strict=True)):
            relation = relation.pad(axis, *widths) if any(widths) else relation
        return relation

    (x,) = node.inputs
    state.sum_terms(x)
    state.terms[node.output] = state.carry(x, widen, node)
