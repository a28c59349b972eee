"""Products element by element: a mask."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.targets.loihi.lowering.rule import Lowering, Term, register


@register(Mul)
def lower(state: Lowering, node: Node) -> None:
    """One neuron an element; an axis of one element reaches all along the other operand's.

    Of two spikes it is an AND, a LIF that one spike does not lift over its threshold and that forgets;
    of sums or graded spikes it is a product neuron.
    """
    assert isinstance(node.op, Mul)
    shape = state.graph.types[node.output].shape
    operands = [_operand(state, node, name, shape) for name in node.inputs]
    population = state.add_product(node, node.output, shape)
    for port, terms in enumerate(operands):
        state.connect(terms, population, port)
    state.define(node.output, population)


def _operand(state: Lowering, node: Node, name: str, shape: tuple[int, ...]) -> tuple[Term, ...]:
    state.plain_terms(name)
    return state.carry(name, lambda relation: relation.spread(shape), node)
