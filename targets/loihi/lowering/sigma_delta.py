"""Sigma-delta neurons: populations that send changes."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.sigma_delta import SigmaDelta
from spikeloom.targets.loihi.lowering.rule import PROGRAM, Lowering, register


@register(SigmaDelta)
def lower(state: Lowering, node: Node) -> None:
    """One neuron an element, a neuron program: Intel's is closed, Lava simulates it.

    A message is sent where it is not 0, so that these count as graded spikes.
    """
    op = node.op
    assert isinstance(op, SigmaDelta)
    (x,) = node.inputs
    terms = state.sum_terms(x)
    variables = 1 + len(op.states(*state.graph.input_types(node)))
    population = state.add_population(node.output, node.output, "neuron", PROGRAM, variables=variables)
    state.connect(terms, population)
    state.biases[population.name] = state.constants[x]
    state.origins[population.name] = node
    state.define(node.output, population)
