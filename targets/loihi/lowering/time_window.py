"""The last few values side by side: the same neurons, by synapses that wait longer and longer."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.targets.loihi.lowering.delay import later, not_late_yet
from spikeloom.targets.loihi.lowering.rule import Lowering, Term, register


@register(TimeWindow)
def lower(state: Lowering, node: Node) -> None:
    """No neurons: for each step back the value with a border as wide as the others, and their sum.

    A kernel along time becomes delayed synapses, of which those with a weight of 0 are left out.

    Raises:
        UnsupportedError: SL0603, not even one network step fits a synapse.
    """
    op = node.op
    assert isinstance(op, TimeWindow)
    (x,) = node.inputs
    shape = state.graph.types[x].shape
    width = shape[op.axis]

    def widen(relation: Relation, back: int = 0) -> Relation:
        return relation.pad(op.axis, (op.size - 1 - back) * width, back * width)

    not_late_yet(state, x)
    state.carry(x, widen, node)
    found: tuple[Term, ...] = ()
    for back in range(op.size):
        steps = np.full(shape, back * op.dilation)
        terms = later(state, node, f"{node.name}.{back}", steps)
        found += tuple(Term(widen(one.relation, back), one.combine, one.late) for one in terms)
    state.terms[node.output] = found
    state.constants[node.output] = np.zeros((1, *state.graph.types[node.output].shape), np.int64)
