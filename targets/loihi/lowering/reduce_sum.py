"""A sum over axes: neurons of one index project to the same place."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.targets.loihi.lowering.rule import Lowering, register


@register(ReduceSum)
def lower(state: Lowering, node: Node) -> None:
    """No neurons: what follows adds up what it receives."""
    op = node.op
    assert isinstance(op, ReduceSum)
    (x,) = node.inputs

    def reduce(relation: Relation) -> Relation:
        for axis in sorted(op.axes, reverse=True):
            relation = relation.reduce(axis)
        return relation

    state.sum_terms(x)
    state.terms[node.output] = state.carry(x, reduce, node)
