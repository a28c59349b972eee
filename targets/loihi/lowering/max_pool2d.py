"""Max pooling: an OR of spikes, or the largest of some currents."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.kinds import SPIKES
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.targets.loihi.lowering.rule import EXISTING, PROGRAM, Lowering, Term, register


@register(MaxPool2d)
def lower(state: Lowering, node: Node) -> None:
    """On spikes, a population that fires when any of its inputs does: a LIF without memory.

    On currents, an accumulator population of the input's shape sends its sum in every step, and
    the neurons that follow take the largest of what arrives. Loihi 2's dendrites add; the maximum
    is left to a neuron program, and both populations are tagged so.
    """
    op = node.op
    assert isinstance(op, MaxPool2d)
    (x,) = node.inputs

    def pool(relation: Relation) -> Relation:
        return relation.pool(op.kernel, op.stride, op.padding)

    terms = state.terms[x]
    if len(terms) != 1 or not terms[0].relation.is_plain or terms[0].late:
        state.materialise(x)
    pooled = tuple(Term(term.relation, "max") for term in state.carry(x, pool, node))
    if state.graph.types[x].kind != SPIKES:
        state.terms[node.output] = pooled
        return
    tag = EXISTING if all(state.role_of(term) != "accumulator" for term in pooled) else PROGRAM
    any_spike = state.add_population(node.output, node.output, "neuron", tag, variables=1, combine="max")
    state.connect(pooled, any_spike)
    state.origins[any_spike.name] = node
    state.define(node.output, any_spike)
