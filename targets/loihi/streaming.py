"""Two products in a row whose operands come in slots, one chip step each.

A network step then takes K chip steps. *Serialisers* take an operand at once and send one row of it in each
slot, all rows to the same *bus* of one row's neurons; *collectors* take a row of the result from a bus in
each slot, and send all of it in the last one. What lies between works in every chip step, and sees one row.
Outside, everything works in the first slot and waits for the next network step; neurons that decay must be
programs for that.

Two programs are of this module only. A *gate* keeps what arrives at port 1 in slot 0 for a network step, and
multiplies it by what arrives at port 0 in every slot. A *memory* adds up the products of what arrives at both
ports, and sends the sum in its last slot.
"""

from __future__ import annotations

from collections.abc import Sequence

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.kinds import SPIKES
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.mapping.network import Population
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.targets.loihi.lowering.rule import EXISTING, PROGRAM, Lowering, Term
from spikeloom.targets.loihi.program import Model
from spikeloom.targets.loihi.slots import Slots


def lower_streamed(state: Lowering, node: Node) -> None:
    """Lower two products as the graph asks for it; ``node`` is the outer one.

    Both streams are made for (a b) c; of a (b c) the transpose is made, (c' b') a'.
    """
    circuit = Circuit(state, node)
    _, stream = state.streams[node.name]
    made = circuit.by_rows() if stream.kind == "rows" else circuit.by_memory()
    state.define(node.output, made)
    state.terms[node.output] = circuit.seen(state.terms[node.output])


class Circuit:
    """The populations of one stream, for a [I, K], b [K, J] and c [J, M] behind the leading axes."""

    def __init__(self, state: Lowering, node: Node) -> None:
        chain, _ = state.streams[node.name]
        self.state = state
        self.node = node
        self.turned = chain.written == "right first"
        self.values = chain.values[::-1] if self.turned else chain.values
        self.first = chain.inner.output
        _, self.i, self.k, self.j, self.m = chain.sizes
        if self.turned:
            self.i, self.k, self.j, self.m = self.m, self.j, self.k, self.i
        self.lead = state.graph.types[node.output].shape[:-2]
        self.axis = len(self.lead)

    def by_rows(self) -> Population:
        """In slot i, row i of a: its products with b, their sums, these times c, and their sums."""
        row = self._bus("a", 0)
        kept = self._operand(1)
        bounds = self._products(self.values[0], self.values[1])
        scores = self._gate(
            "first", self.first, _along(row, self.axis + 1, self.j), kept, (self.k, self.j), bounds
        )
        sums = self._sum("scores", self.first, scores, self.axis)
        kept = self._operand(2)
        bounds = self._products(self.first, self.values[2])
        mixed = self._gate(
            "second", self.node.output, _along(sums, self.axis + 1, self.m), kept, (self.j, self.m), bounds
        )
        total = self._sum("sum", self.node.output, mixed, self.axis)
        return self._collect(_along(total, self.axis, self.i), 0)

    def by_memory(self) -> Population:
        """In slot k, column k of a times row k of b, added up; then, in slot m, that times column m of c."""
        column, row = self._bus("a", 1), self._bus("b", 0)
        ports = (_along(column, self.axis + 1, self.j), _along(row, self.axis, self.i))
        bounds = self.state.graph.types[self.first].kind.bounds
        memory = self._product("memory", "memory", self.first, ports, (self.i, self.j), bounds, self.k - 1)
        columns = _along(self._bus("c", 1), self.axis, self.i)
        bounds = self._products(self.first, self.values[2])
        kept = (Term(Relation.identity(memory)),)
        mixed = self._gate("second", self.node.output, columns, kept, (self.i, self.j), bounds)
        total = self._sum("sum", self.node.output, mixed, self.axis + 1)
        return self._collect(_along(total, self.axis + 1, self.m), 1)

    def seen(self, terms: Sequence[Term]) -> tuple[Term, ...]:
        """Terms of a matrix of the graph as the circuit has it, or the other way round."""
        if not self.turned:
            return tuple(terms)
        order = (*range(self.axis), self.axis + 1, self.axis)
        return tuple(Term(term.relation.transpose(order), term.combine) for term in terms)

    def _operand(self, number: int) -> tuple[Term, ...]:
        """An operand that a gate keeps; a constant in it must be sent."""
        value = self.values[number]
        if self.state.constants[value].any():
            self.state.materialise(value)
        return self.seen(self.state.plain_terms(value))

    def _bus(self, letter: str, along: int) -> Population:
        """The bus behind a serialiser of an operand, which sends index n of an axis in slot n."""
        number = "abc".index(letter)
        value, axis = self.values[number], self.axis + along
        terms = self.seen(self.state.plain_terms(value))
        name = f"{self.node.name}.{letter}"
        slots = self.state.add_population(
            f"{name}.slots",
            value,
            "accumulator",
            PROGRAM,
            variables=1,
            shape=terms[0].relation.shape,
            streams=True,
            tells=True,
        )
        self.state.connect(terms, slots)
        self.state.biases[slots.name] = self._constants(value)
        self.state.slots[slots.name] = Slots(None, axis, 0)
        row = Relation.identity(slots).reduce(axis)
        spikes = self.state.graph.types[value].kind == SPIKES
        bus = self.state.add_population(
            f"{name}.bus",
            value,
            "neuron" if spikes else "accumulator",
            EXISTING if spikes else PROGRAM,
            variables=1,
            shape=row.shape,
            streams=True,
            tells=True,
        )
        self.state.connect((Term(row),), bus)
        self.state.slots[bus.name] = None
        return bus

    def _constants(self, value: str) -> Array:
        constants = self.state.constants[value]
        return constants.swapaxes(-1, -2) if self.turned else constants

    def _products(self, left: str, right: str) -> tuple[int, int]:
        """The least and the largest product of two values' elements."""
        a, b = (self.state.graph.types[value].kind.bounds for value in (left, right))
        corners = [x * y for x in a for y in b]
        return min(corners), max(corners)

    def _gate(
        self,
        name: str,
        value: str,
        passing: tuple[Term, ...],
        kept: tuple[Term, ...],
        shape: tuple[int, int],
        bounds: tuple[int, int],
    ) -> Population:
        return self._product(name, "gate", value, (passing, kept), shape, bounds)

    def _product(
        self,
        name: str,
        model: Model,
        value: str,
        ports: tuple[tuple[Term, ...], ...],
        shape: tuple[int, int],
        bounds: tuple[int, int],
        late: int = 0,
    ) -> Population:
        """Neurons of two ports; of their variables two are the ports' sums, one is what they keep."""
        population = self.state.add_population(
            f"{self.node.name}.{name}",
            value,
            "product" if model == "gate" else "accumulator",
            PROGRAM,
            variables=3,
            combine="product",
            shape=(*self.lead, *shape),
            bounds=bounds,
            late=late,
            streams=model == "gate",
            tells=True,
        )
        for port, terms in enumerate(ports):
            self.state.connect(terms, population, port)
        self.state.models[population.name] = model
        self.state.slots[population.name] = None
        return population

    def _sum(self, name: str, value: str, parts: Population, axis: int) -> Population:
        """The sums of a slot, over an axis of products."""
        relation = Relation.identity(parts).reduce(axis)
        population = self.state.add_population(
            f"{self.node.name}.{name}",
            value,
            "accumulator",
            PROGRAM,
            variables=1,
            shape=relation.shape,
            streams=True,
            tells=True,
        )
        self.state.connect((Term(relation),), population)
        self.state.slots[population.name] = None
        return population

    def _collect(self, terms: tuple[Term, ...], along: int) -> Population:
        """What takes index n of an axis in slot n, and sends all in the last."""
        last = (self.i, self.m)[along] - 1
        population = self.state.add_population(
            self.node.output,
            self.node.output,
            "accumulator",
            PROGRAM,
            variables=1,
            shape=(*self.lead, self.i, self.m),
            late=last,
            tells=True,
        )
        self.state.connect(terms, population)
        self.state.slots[population.name] = Slots(self.axis + along, None, last)
        return population


def _along(population: Population, axis: int, size: int) -> tuple[Term, ...]:
    """A population, read alike along a new axis."""
    return (Term(Relation.identity(population).broadcast(axis, size)),)
