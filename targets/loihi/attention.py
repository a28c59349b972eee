"""In what form attention is executed: the same numbers, at different costs.

Without a softmax, (q kᵀ) v = q (kᵀ v), exactly. With N tokens and d channels a head, the first makes N x N
scores and 2 N N d products, the second a d x d memory and 2 N d d. A product is a neuron here, so that the
cheaper order is taken, head by head and layer by layer, unless a form is asked for.

Where even that is too many neurons, operands come in slots, one chip step each, and a network step takes
K chip steps, K being the most slots of any attention. *By rows*, a row of the first product is made in
each slot (the scores of a token, or kᵀ times a channel of v), from neurons that keep the other two
operands: 2 N d products. *By memory*, the first product is added up in d x d neurons while tokens come one
by one, then read by token after token: 2 d d products.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node
from spikeloom.compiler.graph.op import RuleBrokenError
from spikeloom.compiler.graph.ops.matmul import MatMul, Streamed
from spikeloom.compiler.graph.rewrite import rewrite
from spikeloom.errors import InternalError

Written = Literal["left first", "right first"]
Form = Literal["cheapest", "at once", "as written", "left first", "right first", "streamed", "rows", "memory"]
FORMS: tuple[Form, ...] = get_args(Form)
STREAMS: dict[Form, tuple[Streamed, ...]] = {
    "streamed": ("rows", "memory"),
    "rows": ("rows",),
    "memory": ("memory",),
}
"""The forms that take K chip steps a network step; ``streamed`` is the one of less work."""
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
class Stream:
    """A way to take the operands of two products a b c in slots.

    Attributes:
        kind: ``rows`` or ``memory``.
        order: which product comes first.
        slots: chip steps that it needs in a network step.
        neurons: of everything between the operands and what reads the result, but for holds where an
            operand must wait longer than synapses can.
        synapses: that end in these neurons, and those that read the result.
        steps: chip steps from the operands' spikes to those of the neurons that read the result.
    """

    kind: Streamed
    order: Written
    slots: int
    neurons: int
    synapses: int
    steps: int

    @property
    def work(self) -> int:
        """Updates of neurons in a network step: what the form costs in room and in time."""
        return self.neurons * self.slots


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
    written: Written
    sizes: tuple[int, int, int, int, int]

    @property
    def streamed(self) -> Streamed:
        """How the graph asks for its operands to be taken."""
        ops = (self.inner.op, self.outer.op)
        kinds = {op.streamed for op in ops if isinstance(op, MatMul)}
        return kinds.pop() if len(kinds) == 1 else ""

    @property
    def orders(self) -> tuple[Order, Order]:
        """Left first, (a b) c, and right first, a (b c)."""
        lead, i, k, j, m = self.sizes
        left = (i * k * j + i * j * m, i * j)
        right = (k * j * m + i * k * m, k * m)
        return (_order("left first", lead, *left), _order("right first", lead, *right))

    @property
    def streams(self) -> tuple[Stream, ...]:
        """By rows and by memory, in either order; right first, a b c is c' b' a' transposed."""
        lead, i, k, j, m = self.sizes
        sizes: dict[Written, tuple[int, int, int, int]] = {
            "left first": (i, k, j, m),
            "right first": (m, j, k, i),
        }
        return tuple(
            made(order, lead, *one) for order, one in sizes.items() for made in (_by_rows, _by_memory)
        )

    @property
    def stream(self) -> Stream:
        """The stream that the graph asks for."""
        wanted = (self.streamed, self.written)
        return next(one for one in self.streams if (one.kind, one.order) == wanted)

    def chosen(self, form: Form) -> Order:
        """The order that a form asks for; the written one where both cost the same."""
        wanted = self.written if form == "as written" else form
        if wanted not in ("cheapest", "at once"):
            return next(order for order in self.orders if order.form == wanted)
        return min(self.orders, key=lambda order: (order.neurons, order.form != self.written))


def _order(form: Form, lead: int, products: int, sums: int) -> Order:
    return Order(form, lead * (products + sums), lead * 3 * products)


def _by_rows(order: Written, lead: int, i: int, k: int, j: int, m: int) -> Stream:
    """In slot n: row n of a [I, K], times b [K, J], times c [J, L]; both are kept by the product neurons."""
    slotted = i * k + i * m
    neurons = slotted + k + k * j + j + j * m + m
    synapses = 2 * slotted + 3 * (k * j + j * m)
    return Stream("rows", order, i, lead * neurons, lead * synapses, i + 7)


def _by_memory(order: Written, lead: int, i: int, k: int, j: int, m: int) -> Stream:
    """In slot n: column n of a times row n of b onto a memory [I, J]; then, that times column n of c."""
    slotted = i * k + k * j + j * m + i * m
    neurons = slotted + i + j + i * j + j + i * j + i
    synapses = 2 * slotted + 5 * i * j
    return Stream("memory", order, max(k, m), lead * neurons, lead * synapses, k + m + 5)


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


def _chain(graph: Graph, inner: Node, outer: Node, values: tuple[str, ...], written: Written) -> Chain:
    a, b, c = values
    *lead, i, k = graph.types[a].shape
    j = graph.types[b].shape[-1]
    sizes = (prod(lead), i, k, j, graph.types[c].shape[-1])
    return Chain(inner, outer, (a, b, c), written, sizes)


def reorder(graph: Graph, form: Form = "cheapest") -> Graph:
    """The same network with the products of every chain in the order of a form.

    Where the other order's sums have no proof that they fit an accumulator, the written one stays.
    """
    if form in STREAMS:
        return _streamed(graph, STREAMS[form])
    turned = {chain.outer.name: chain for chain in chains(graph) if chain.chosen(form).form != chain.written}
    for name, chain in turned.items():
        try:
            graph = _turned(graph, name, chain)
        except (InternalError, RuleBrokenError):
            continue
    return graph


def _streamed(graph: Graph, kinds: tuple[Streamed, ...]) -> Graph:
    """The graph with every chain taken in slots, where there is a proof that the sums fit.

    Each is taken in the stream of the least work, or of the smaller memory where that is asked for.
    """
    for chain in _apart(chains(graph)):
        streams = (stream for stream in chain.streams if stream.kind in kinds)
        for stream in sorted(streams, key=lambda one: _cost(one, chain, kinds)):
            try:
                graph = _paced(graph, chain, stream)
                break
            except (InternalError, RuleBrokenError):
                continue
    return graph


def _cost(stream: Stream, chain: Chain, kinds: tuple[Streamed, ...]) -> tuple[int, bool]:
    return (stream.work if "rows" in kinds else stream.neurons, stream.order != chain.written)


def _paced(graph: Graph, chain: Chain, stream: Stream) -> Graph:
    """The graph with both products of a chain in the stream's order, and marked so."""
    if stream.order != chain.written:
        graph = _turned(graph, chain.outer.name, chain)

    def visit(builder: GraphBuilder, node: Node, inputs: tuple[str, ...]) -> tuple[str, ...] | None:
        if node.name not in (chain.inner.name, chain.outer.name):
            return None
        return builder.add(node.name, MatMul(stream.kind), *inputs, source=node.source)

    return rewrite(graph, visit)


def _apart(found: Iterable[Chain]) -> list[Chain]:
    """Chains of which no two share a product."""
    taken: set[str] = set()
    apart = []
    for chain in found:
        names = {chain.inner.name, chain.outer.name}
        if not taken & names:
            taken |= names
            apart.append(chain)
    return apart


def streamed_chains(graph: Graph) -> dict[str, tuple[Chain, Stream]]:
    """The chains that a graph asks to be streamed, and how, by the name of their outer product."""
    found = _apart(chain for chain in chains(graph) if chain.streamed)
    return {chain.outer.name: (chain, chain.stream) for chain in found}


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
