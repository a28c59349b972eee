"""Values that are late: synapses that wait."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.kinds import SPIKES
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.mapping.network import Role
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.errors import UnsupportedError
from spikeloom.targets.loihi.lowering.rule import EXISTING, NOW, PROGRAM, Lateness, Lowering, Term, register
from spikeloom.targets.loihi.program import LONGEST_DELAY


@register(Delay)
def lower(state: Lowering, node: Node) -> None:
    """No neurons: whatever the value is made of arrives later, by steps of each neuron or of each target.

    Relays stand where a synapse would have to wait too long, each good for as many steps as a synapse.

    Raises:
        UnsupportedError: SL0603, not even one network step fits a synapse.
    """
    op = node.op
    assert isinstance(op, Delay)
    (x,) = node.inputs
    not_late_yet(state, x)
    steps = np.broadcast_to(op.steps, state.graph.types[x].shape).astype(np.int64)
    state.terms[node.output] = later(state, node, node.name, steps)
    state.constants[node.output] = np.zeros((1, *state.graph.types[node.output].shape), np.int64)


def not_late_yet(state: Lowering, x: str) -> None:
    """Have a value sent if it is late already, or holds a constant: nothing arrives before the first step."""
    terms = state.terms[x]
    if state.constants[x].any() or any(term.late or term.combine == "max" for term in terms):
        state.materialise(x)


def later(state: Lowering, node: Node, name: str, steps: Array) -> tuple[Term, ...]:
    """The terms of a node's input, late by [...] network steps; relays are called by ``name``.

    Raises:
        UnsupportedError: SL0603, not even one network step fits a synapse.
    """
    (x,) = node.inputs
    most = LONGEST_DELAY // state.steps
    if not most:
        raise UnsupportedError.of(
            "SL0603",
            f"{node.name} at {node.source}",
            "a synapse cannot wait for a network step",
            wanted=f"a network step of at most {LONGEST_DELAY} chip steps",
            got=f"{state.steps} chip steps, which attention takes in slots",
            remedy='compile it with --attention "at once"',
        )
    terms, number = state.terms[x], 0
    spikes = state.graph.types[x].kind == SPIKES
    role: Role = "neuron" if spikes else "accumulator"
    while steps.max() > most:
        number += 1
        tag = EXISTING if spikes else PROGRAM
        relay = state.add_population(f"{name}.relay{number}", x, role, tag, variables=1, tells=True)
        state.connect(_late_by(terms, np.minimum(steps, most)), relay)
        terms, steps = (Term(Relation.identity(relay)),), np.maximum(steps - most, 0)
    return _late_by(terms, steps)


def _late_by(terms: tuple[Term, ...], steps: Array) -> tuple[Term, ...]:
    """Terms that are not late yet, late by [...] steps."""
    alike = bool((steps == steps.flat[0]).all())
    lateness = Lateness(np.asarray(steps.flat[0]), NOW.taken) if alike else Lateness(NOW.sent, steps)
    return tuple(Term(term.relation, term.combine, lateness) for term in terms)
