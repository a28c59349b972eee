"""Convolutions: synapses with a kernel that all positions share."""

from __future__ import annotations

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.targets.loihi.lowering.rule import Lowering, register


@register(Conv1d, Conv2d)
def lower(state: Lowering, node: Node) -> None:
    """No neurons: the population that the currents reach holds them.

    A bias is a constant of that population. Two weighted maps in a row need an accumulator population
    between, and so does a sum of many products, each of which would else have every weight.
    """
    op = node.op
    assert isinstance(op, Convolution)
    (x,) = node.inputs
    if any(state.role_of(term) == "product" and not term.relation.is_plain for term in state.terms[x]):
        state.materialise(x)
    kernel = state.kernel(node, op)
    state.terms[node.output] = state.carry(x, lambda relation: relation.convolution(op, kernel), node)
