"""Which of the two products of attention comes first: the same numbers, at different costs.

Without a softmax, (q kᵀ) v = q (kᵀ v), exactly. With N tokens and d channels a head, the first makes N x N
scores and 2 N N d products, the second a d x d memory and 2 N d d. A product is a neuron here, so that the
cheaper order is taken, head by head and layer by layer, unless a form is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node
from spikeloom.compiler.graph.op import RuleBrokenError
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.errors import InternalError

Form = Literal["cheapest", "as written", "left first", "right first"]
STEPS = 3
"""Chip steps of either order: products, their sums, products; the neurons that follow take the next."""


@dataclass(frozen=True)
class Order:
    """One order of the products a b c.

    Attributes:
        form: which product comes first.
        neurons: products of both stages, and the accumulators between.
        synapses: two into each product, one out of it.
    """

    form: Form
    neurons: int
    synapses: int


@dataclass(frozen=True)
class Chain:
    """Two products in a row: of three values a [I, K], b [K, J] and c [J, L], with equal leading axes.

    Attributes:
        inner, outer: the nodes, as written.
        values: names of a, b and c.
        written: the form that the graph has.
        sizes: of the leading axes together, I, K, J and L.
    """

    inner: Node
    outer: Node
    values: tuple[str, str, str]
    written: Form
    sizes: tuple[int, int, int, int, int]

    @property
    def orders(self) -> tuple[Order, Order]:
        """Left first, (a b) c, and right first, a (b c)."""
        lead, i, k, j, m = self.sizes
        left = (i * k * j + i * j * m, i * j)
        right = (k * j * m + i * k * m, k * m)
        return (_order("left first", lead, *left), _order("right first", lead, *right))

    def chosen(self, form: Form) -> Order:
        """The order that a form asks for; the written one where both cost the same."""
        wanted = self.written if form == "as written" else form
        if wanted != "cheapest":
            return next(order for order in self.orders if order.form == wanted)
        return min(self.orders, key=lambda order: (order.neurons, order.form != self.written))


def _order(form: Form, lead: int, products: int, sums: int) -> Order:
    return Order(form, lead * (products + sums), lead * 3 * products)


def chains(graph: Graph) -> Iterator[Chain]:
    """Every pair of products of which the second takes the first's result and nothing else does.

    >>> from spikeloom.compiler.graph.graph import Stage
    >>> from spikeloom.compiler.graph.kinds import SPIKES, Type
    >>> builder = GraphBuilder("ssa", Stage.INTEGER)
    >>> shapes = {"q": (4, 16, 8), "k": (4, 8, 16), "v": (4, 16, 8)}
    >>> q, k, v = (builder.input(name, Type(shape, SPIKES)) for name, shape in shapes.items())
    >>> builder.output(builder.add("mix", MatMul(), *builder.add("scores", MatMul(), q, k), v)[0])
    >>> (chain,) = chains(builder.build())
    >>> [(order.form, order.neurons, order.synapses) for order in chain.orders]
    [('left first', 17408, 49152), ('right first', 8448, 24576)]
    """
    for outer in graph.nodes:
        if not isinstance(outer.op, MatMul):
            continue
        for place, name in enumerate(outer.inputs):
            inner = graph.producers.get(name)
            alone = len(graph.consumers.get(name, ())) == 1 and name not in graph.outputs
            if inner is None or not isinstance(inner.op, MatMul) or not alone:
                continue
            other = outer.inputs[1 - place]
            values = (*inner.inputs, other) if place == 0 else (other, *inner.inputs)
            yield _chain(graph, inner, outer, values, "left first" if place == 0 else "right first")
            break


def _chain(graph: Graph, inner: Node, outer: Node, values: tuple[str, ...], written: Form) -> Chain:
    a, b, c = values
    *lead, i, k = graph.types[a].shape
    j = graph.types[b].shape[-1]
    sizes = (prod(lead), i, k, j, graph.types[c].shape[-1])
    return Chain(inner, outer, (a, b, c), written, sizes)


def reorder(graph: Graph, form: Form = "cheapest") -> Graph:
    """The same network with the products of every chain in the order of a form.

    Where the other order's sums have no proof that they fit an accumulator, the written one stays.
    """
    turned = {chain.outer.name: chain for chain in chains(graph) if chain.chosen(form).form != chain.written}
    for name, chain in turned.items():
        try:
            graph = _turned(graph, name, chain)
        except (InternalError, RuleBrokenError):
            continue
    return graph


def _turned(graph: Graph, outer: str, chain: Chain) -> Graph:
    """The graph with one chain in its other order; the inner product keeps its name, and is made last."""
    builder = GraphBuilder(graph.name, graph.stage, graph.profile)
    for value in graph.inputs:
        builder.input(value, graph.types[value])
    a, b, c = chain.values
    for node in graph.nodes:
        if node.name == chain.inner.name:
            continue
        if node.name != outer:
            builder.add(node.name, node.op, *node.inputs, source=node.source)
            continue
        inner = chain.inner.name
        written_left = chain.written == "left first"
        builder.add(inner, chain.inner.op, *((b, c) if written_left else (a, b)), source=chain.inner.source)
        builder.add(node.name, node.op, *((a, inner) if written_left else (inner, c)), source=node.source)
    for value in graph.outputs:
        builder.output(value)
    builder.units.update({name: unit for name, unit in graph.units.items() if name != chain.inner.name})
    return builder.build()
