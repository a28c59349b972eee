"""A sum of spikes: no neuron at all."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.targets.loihi.lowering.rule import Lowering, register

MOST_RELAYS = 3
"""That a value is the sum of."""


@register(Add)
def lower(state: Lowering, node: Node) -> None:
    """Both addends stay terms, so that what follows gets both under the same shared kernel.

    A linear map distributes over the sum, and a neuron adds up what arrives in a step: exact. Where
    many relays meet, as on a long residual path of membranes, an accumulator adds them up and sends
    on: else each block would read all before it, and the first of them would have to wait too long.
    """
    a, b = node.inputs
    terms = state.sum_terms(a) + state.sum_terms(b)
    state.terms[node.output] = terms
    if sum(state.role_of(term) == "accumulator" for term in terms) > MOST_RELAYS:
        state.constants[node.output] = state.constants[a] + state.constants[b]
        state.materialise(node.output)
