"""A part of an axis: a range of neurons."""

from __future__ import annotations

from functools import partial
from itertools import accumulate, pairwise

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.targets.loihi.lowering.rule import Lowering, register


@register(Split)
def lower(state: Lowering, node: Node) -> None:
    """The elements stay where they are; what follows reads a range of them."""
    op = node.op
    assert isinstance(op, Split)
    cuts = pairwise(accumulate(op.sizes, initial=0))
    for output, (start, stop) in zip(node.outputs, cuts, strict=True):
        part = partial(_part, axis=op.axis, start=start, stop=stop)
        state.terms[output] = state.carry(node.inputs[0], part, node)


def _part(relation: Relation, axis: int, start: int, stop: int) -> Relation:
    return relation.narrow(axis, start, stop)
