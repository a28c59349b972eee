"""Values side by side: several projections."""

from __future__ import annotations

from itertools import accumulate

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.targets.loihi.lowering.rule import Lowering, Term, register


@register(Concat)
def lower(state: Lowering, node: Node) -> None:
    """No neurons: each value with a border as wide as the others, and their sum."""
    op = node.op
    assert isinstance(op, Concat)
    axis = op.axis
    sizes = [state.graph.types[name].shape[axis] for name in node.inputs]
    terms: tuple[Term, ...] = ()
    for name, size, end in zip(node.inputs, sizes, accumulate(sizes), strict=True):
        before, after = end - size, sum(sizes) - end

        def widen(relation: Relation, before: int = before, after: int = after) -> Relation:
            return relation.pad(axis, before, after)

        state.sum_terms(name)
        terms += state.carry(name, widen, node)
    state.terms[node.output] = terms
