"""Spiking neurons: populations."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE, IntegerNeuron
from spikeloom.compiler.mapping.network import Combine, Population
from spikeloom.targets.loihi.lowering.rule import EXISTING, PROGRAM, Lowering, register


@register(IntegerNeuron)
def lower(state: Lowering, node: Node) -> None:
    """One population, and a projection to it from each population that its input is made of.

    A LIF with one level and hard reset that adds up its inputs is the chip's own. Graded spikes,
    a soft reset, the largest of the inputs and a membrane that forgets at once (the register holds
    4095 of 4096 at most) need a neuron program; so does any that must wait for its next network step. A
    program has its thresholds in the neuron's memory; of the chip's own LIF a group of neurons shares one.
    """
    assert isinstance(node.op, IntegerNeuron)
    add_neurons(state, node, node.op)


def add_neurons(state: Lowering, node: Node, op: IntegerNeuron) -> Population:
    """The population of a node's neurons, with what arrives at it."""
    (x,) = node.inputs
    if len(state.terms[x]) > 1:
        state.sum_terms(x)
    combine: Combine = "max" if any(term.combine == "max" for term in state.terms[x]) else "sum"
    plain = op.levels == 1 and op.reset == "hard" and combine == "sum" and op.decay < DECAY_ONE
    plain = plain and state.steps == 1
    group_shape = op.theta.shape[1:]
    columns, groups = np.unique(op.theta.reshape(op.levels, -1), axis=1, return_inverse=True)
    variables = 1 + len(op.states(*state.graph.input_types(node)))
    if not plain:  # a program reads thresholds from each neuron's own memory
        variables += op.levels * (columns.shape[1] > 1)
        group_shape, groups = (), np.zeros(1, np.int64)
    population = state.add_population(
        node.name,
        node.output,
        "neuron",
        EXISTING if plain else PROGRAM,
        variables=variables,
        combine=combine,
        group_shape=group_shape,
        groups=tuple(int(group) for group in groups.ravel()),
    )
    state.connect(state.terms[x], population)
    state.biases[population.name] = state.constants[x]
    state.origins[population.name] = node
    state.define(node.output, population)
    return population
