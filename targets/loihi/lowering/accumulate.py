"""A sum over time: the host's."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.targets.loihi.lowering.rule import Lowering, register


@register(Accumulate)
def lower(state: Lowering, node: Node) -> None:
    """The host reads the output in every step and adds it up.

    A membrane without a leak would do it on the chip, but 24 bits do not hold 7 fraction digits of
    every such sum. The sum must be the network's output.
    """
    assert isinstance(node.op, Accumulate)
    (x,) = node.inputs
    state.terms[node.output] = state.sum_terms(x)
    state.constants[node.output] = state.constants[x]
