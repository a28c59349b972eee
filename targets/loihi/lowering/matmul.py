"""Products of two values: a neuron for each pair that meets."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.targets.loihi.lowering.rule import Lowering, Term, register
from spikeloom.targets.loihi.streaming import lower_streamed


@register(MatMul)
def lower(state: Lowering, node: Node) -> None:
    """[..., I, K] times [..., K, J] is I * K * J product neurons, which the next population adds up.

    A product neuron has two ports, one an operand, each an accumulator of its own; it multiplies
    what they hold and sends what is not zero. Of two spikes the product is an AND, which the chip's
    LIF is as well. Operands that are not sent by a population as they
    are (currents, sums over an axis) get an accumulator population; a sum of spikes does not: its
    addends meet at the port. All products of a head share their operands and stay together.

    This is the parallel form, one network step in one pass, at I * K * J neurons. Of two products that
    are streamed, the inner one is made where the outer one is; see :mod:`spikeloom.targets.loihi.streaming`.
    """
    assert isinstance(node.op, MatMul)
    if node.name in state.streams:
        lower_streamed(state, node)
        return
    if any(node.name == chain.inner.name for chain, _ in state.streams.values()):
        state.terms[node.output] = ()
        return
    left, right = node.inputs
    a, b = state.graph.types[left], state.graph.types[right]
    *lead, rows, inner = a.shape
    columns = b.shape[-1]
    wide = [Term(term.relation.broadcast(len(a.shape), columns)) for term in state.plain_terms(left)]
    tall = [Term(term.relation.broadcast(len(lead), rows)) for term in state.plain_terms(right)]
    together = tuple(range(len(lead), len(lead) + 3))
    shape = (*lead, rows, inner, columns)
    products = state.add_product(node, f"{node.name}.products", shape, together)
    state.connect(wide, products, port=0)
    state.connect(tall, products, port=1)
    summed = Relation.identity(products).reduce(len(lead) + 1)
    state.terms[node.output] = (Term(summed),)
