"""A piece of an axis: a range of neurons."""

from __future__ import annotations

from functools import partial

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.slice import Slice
from spikeloom.compiler.mapping.relation import NotExpressibleError, Relation
from spikeloom.targets.loihi.lowering.rule import Lowering, register


@register(Slice)
def lower(state: Lowering, node: Node) -> None:
    """The elements stay where they are; what follows reads a range of them, in steps of one."""
    op = node.op
    assert isinstance(op, Slice)
    state.terms[node.output] = state.carry(node.inputs[0], partial(_piece, op), node)


def _piece(op: Slice, relation: Relation) -> Relation:
    if op.step != 1:
        raise NotExpressibleError(f"every {op.step}th element of an axis")
    return relation.narrow(op.axis, op.start, op.stop)
