"""Linear maps: synapses."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.targets.loihi.lowering.rule import Lowering, register


@register(Linear)
def lower(state: Lowering, node: Node) -> None:
    """No neurons: the population that the currents reach holds them.

    A sum over tokens in front of the map (mean pooling before a head) is folded into it: every
    token projects with the same weights. A bias is a constant of the population.
    """
    op = node.op
    assert isinstance(op, Linear)
    (x,) = node.inputs
    if any(state.role_of(term) == "product" and not term.relation.is_plain for term in state.terms[x]):
        state.materialise(x)
    kernel = state.kernel(node, op)
    state.terms[node.output] = state.carry(x, lambda relation: relation.linear(kernel), node)
