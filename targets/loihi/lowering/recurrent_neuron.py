"""Neurons whose spikes come back to them: a projection of a population to itself."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.errors import UnsupportedError
from spikeloom.targets.loihi.lowering.integer_neuron import add_neurons
from spikeloom.targets.loihi.lowering.rule import Lowering, Term, register
from spikeloom.targets.loihi.program import LONGEST_DELAY


@register(RecurrentNeuron)
def lower(state: Lowering, node: Node) -> None:
    """The neurons, and synapses from them to them.

    A spike comes back one network step after it was sent. A synapse takes one chip step, so that the loop
    needs no delay where a network step is one chip step, and K - 1 steps of it where that is K. No loop can
    be shorter: what has neurons between its ends comes back that many steps later, and the graph has no such
    operation.

    Raises:
        UnsupportedError: SL0603, a network step takes longer than a synapse can wait.
    """
    op = node.op
    assert isinstance(op, RecurrentNeuron)
    if state.steps - 1 > LONGEST_DELAY:
        raise UnsupportedError.of(
            "SL0603",
            f"{node.name} at {node.source}",
            "its spikes must come back within one network step",
            wanted=f"a network step of at most {LONGEST_DELAY + 1} chip steps",
            got=f"{state.steps} chip steps, which attention takes in slots",
            remedy='compile it with --attention "at once"',
        )
    population = add_neurons(state, node, op.neuron)
    back = Relation.identity(population).linear(state.kernel(node, op))
    state.connect((Term(back),), population)
    state.remembers = True
