"""Neurons whose spikes come back to them: a projection of a population to itself."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron, is_dense
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.errors import UnsupportedError, counted
from spikeloom.targets.loihi.lowering.integer_neuron import add_neurons
from spikeloom.targets.loihi.lowering.rule import NOW, Lateness, Lowering, Term, register
from spikeloom.targets.loihi.program import LONGEST_DELAY


@register(RecurrentNeuron)
def lower(state: Lowering, node: Node) -> None:
    """The neurons, and synapses from them to them.

    A spike comes back one network step after it was sent, or more. A synapse takes one chip step, so that a
    loop of one needs no delay where a network step is one chip step, and K - 1 steps of it where that is K;
    for each network step more, it waits K. No loop can be shorter: what has neurons between its ends comes
    back that many steps later, and the graph has no such operation.

    Raises:
        UnsupportedError: SL0603, a spike comes back after more steps than a synapse can wait; SL0602, neurons
            that are driven by their own spikes alone stand on several axes.
    """
    op = node.op
    assert isinstance(op, RecurrentNeuron)
    if state.steps * op.wait - 1 > LONGEST_DELAY:
        raise UnsupportedError.of(
            "SL0603",
            f"{node.name} at {node.source}",
            f"its spikes must come back within {counted(op.wait, 'network step')}",
            wanted=f"a way back of at most {LONGEST_DELAY + 1} chip steps",
            got=f"{state.steps * op.wait}, of which attention in slots takes {state.steps} a network step",
            remedy='compile it with --attention "at once"',
        )
    if not is_dense(op.weight, len(state.graph.types[node.output].shape)):
        raise UnsupportedError.of(
            "SL0602",
            f"{node.name} at {node.source}",
            "each of its neurons is driven by its own spikes, and they stand on several axes",
            wanted="neurons on one axis",
            got=f"[{', '.join(map(str, state.graph.types[node.output].shape))}]",
            remedy="put a Flatten before it",
        )
    population = add_neurons(state, node, op.neuron)
    back = Relation.identity(population).linear(state.kernel(node, op))
    late = Lateness(np.array(op.wait - 1), np.zeros((), np.int64)) if op.wait > 1 else NOW
    state.connect((Term(back, late=late),), population)
    state.remembers = True
