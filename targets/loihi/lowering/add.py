"""A sum of spikes: no neuron at all."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.targets.loihi.lowering.rule import Lowering, register


@register(Add)
def lower(state: Lowering, node: Node) -> None:
    """Both addends stay terms, so that what follows gets both under the same shared kernel.

    A linear map distributes over the sum, and a neuron adds up what arrives in a step: exact.
    """
    a, b = node.inputs
    state.terms[node.output] = state.sum_terms(a) + state.sum_terms(b)
