"""Values of another time are nothing: neurons that count the steps of a sample."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.targets.loihi.lowering.rule import PROGRAM, Lowering, register


@register(TimeGate)
def lower(state: Lowering, node: Node) -> None:
    """One neuron an element, a neuron program: it sends what arrives in the steps that count."""
    assert isinstance(node.op, TimeGate)
    (x,) = node.inputs
    terms = state.sum_terms(x)
    gate = state.add_population(node.output, node.output, "accumulator", PROGRAM, variables=2)
    state.connect(terms, gate)
    state.biases[gate.name] = state.constants[x]
    state.origins[gate.name] = node
    state.define(node.output, gate)
