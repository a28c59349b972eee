"""Resonate-and-fire neurons: populations of two ports."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.resonator import Resonator
from spikeloom.targets.loihi.lowering.rule import PROGRAM, Lowering, register


@register(Resonator)
def lower(state: Lowering, node: Node) -> None:
    """One neuron an element, a neuron program: Lava simulates it, and Loihi 2's is not public.

    Real parts arrive at port 0, imaginary parts at port 1, each an accumulator of its own. A constant of
    either is sent.
    """
    assert isinstance(node.op, Resonator)
    for x in node.inputs:
        state.sum_terms(x)
        if state.constants[x].any():
            state.materialise(x)
    population = state.add_population(node.name, node.output, "neuron", PROGRAM, variables=4)
    for port, x in enumerate(node.inputs):
        state.connect(state.terms[x], population, port)
    state.origins[population.name] = node
    state.define(node.output, population)
