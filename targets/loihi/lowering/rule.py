"""The registry of lowering rules, and what they work on.

While a graph is lowered, every value is a sum of terms; a term is a relation to a population. A
rule turns the terms of its node's inputs into the terms of its outputs. Only what must hold state,
or must be known at one place before it can go on, becomes a population.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.kinds import SPIKES
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.network import Combine, Kernel, Network, Population, Projection, Role
from spikeloom.compiler.mapping.relation import NotExpressibleError, Relation
from spikeloom.compiler.mapping.synapses import expand
from spikeloom.errors import UnsupportedError
from spikeloom.targets.loihi.attention import streamed_chains
from spikeloom.targets.loihi.program import Model
from spikeloom.targets.loihi.slots import Slots

EXISTING = "chip model known to exist"
"""Neurons that Intel's published chip models cover: a LIF with one of at most 8 thresholds."""

PROGRAM = "needs a neuron program that nobody has published"
"""Neurons that Loihi 2's programmable neurons can express; the program is not public."""


@dataclass(frozen=True, eq=False)
class Lateness:
    """Network steps by which a synapse is late: those of its source neuron and of its target.

    Attributes:
        sent: [source neurons], or one number for all.
        taken: [...] of the value's shape, or one number for all.
    """

    sent: Array
    taken: Array

    def __bool__(self) -> bool:
        return bool(self.sent.any() or self.taken.any())

    @property
    def longest(self) -> int:
        """No synapse is later."""
        return int(self.sent.max() + self.taken.max())


NOW = Lateness(np.zeros((), np.int64), np.zeros((), np.int64))


@dataclass(frozen=True)
class Term:
    """One summand of a value.

    Attributes:
        relation: to a population.
        combine: ``max`` if the largest of the neurons that an element reads counts, not their sum.
        late: network steps by which it is late.
    """

    relation: Relation
    combine: Combine = "sum"
    late: Lateness = NOW


@dataclass(frozen=True)
class StateSizes:
    """Bytes of neuron state.

    Attributes:
        variable: of one variable.
        parameters: that each neuron has for itself.
        slot: for each step that a synapse waits: what has arrived for a later step.
    """

    variable: int
    parameters: int
    slot: int


class Lowering:
    """A network in the making.

    Attributes:
        graph: what is lowered.
        terms: of every value seen so far.
        constants: of every value seen so far, what it holds beside its terms: the biases on the way.
        biases: of every population, the constants of what it receives.
        origins: the node that a population executes, where it executes one.
        operation: of the node whose rule is at work.
        made_for: of every population, the operation whose rule made it.
        streams: how products are streamed, by the name of the outer one.
        steps: chip steps of a network step: the most slots of any stream.
        slots: of populations, when they take and send, where that is not slot 0; None: in every slot.
        models: of populations whose role does not tell.
        late: of projections by number, network steps by which their synapses are late.
        remembers: whether messages outlive the network step in which they were sent.
    """

    def __init__(self, graph: Graph, sizes: StateSizes) -> None:
        self.graph = graph
        self.streams = streamed_chains(graph)
        self.steps = max((stream.slots for _, stream in self.streams.values()), default=1)
        self.slots: dict[str, Slots | None] = {}
        self.models: dict[str, Model] = {}
        self.late: dict[int, Lateness] = {}
        self.terms: dict[str, tuple[Term, ...]] = {}
        self.constants: dict[str, Array] = {}
        self.biases: dict[str, Array] = {}
        self.origins: dict[str, Node] = {}
        self.operation = "input"
        self.made_for: dict[str, str] = {}
        self.remembers = False
        self._sizes = sizes
        self._populations: dict[str, Population] = {}
        self._projections: list[Projection] = []
        self._kernels: dict[str, Kernel] = {}
        for name in graph.inputs:
            self.define(name, self.add_population(name, name, "input", EXISTING, variables=0))

    def add_population(
        self,
        name: str,
        value: str,
        role: Role,
        tag: str,
        *,
        variables: int,
        combine: Combine = "sum",
        shape: tuple[int, ...] | None = None,
        bounds: tuple[int, int] | None = None,
        group_shape: tuple[int, ...] = (),
        groups: tuple[int, ...] = (0,),
        together: tuple[int, ...] = (),
        late: int = 0,
        streams: bool = False,
        tells: bool = False,
    ) -> Population:
        """Add a population; shape and bounds are those of the value unless they are given.

        Args:
            name: of the population.
            value: of the graph.
            role: of the population.
            tag: what it takes to run it.
            variables: how many variables the state of a neuron has.
            combine: how inputs of one step are combined.
            shape: if not that of the value.
            bounds: if not those of the value.
            group_shape: of ``groups``.
            groups: the parameter group of each neuron.
            together: axes that a tile should hold whole.
            late: slots from the first that it takes in to the first that it sends in.
            streams: whether it sends in several slots.
            tells: whether it sends the value over the slots of a network step, or makes its products.
        """
        kind = self.graph.types[value]
        state = self._sizes.variable * variables + (self._sizes.parameters if role == "neuron" else 0)
        population = Population(
            name,
            shape or kind.shape or (1,),
            role,
            bounds or kind.kind.bounds,
            state,
            tag,
            combine,
            group_shape,
            groups,
            together,
            late,
            streams,
            value if tells else "",
        )
        self._populations[name] = population
        self.made_for[name] = self.operation
        return population

    def add_product(
        self, node: Node, name: str, shape: tuple[int, ...], together: tuple[int, ...] = ()
    ) -> Population:
        """Add a population that multiplies its two ports: an AND where both operands are spikes."""
        a, b = self.graph.input_types(node)
        corners = [x * y for x in a.kind.bounds for y in b.kind.bounds]
        both = a.kind == b.kind == SPIKES
        population = self.add_population(
            name,
            node.output,
            "product",
            EXISTING if both else PROGRAM,
            variables=1 if both else 2,
            combine="product",
            shape=shape,
            bounds=(min(corners), max(corners)),
            together=together,
        )
        self.origins[name] = node
        return population

    def define(self, value: str, population: Population) -> None:
        """A value is what a population sends."""
        self.terms[value] = (Term(Relation.identity(population)),)
        self.constants[value] = np.zeros((1, *self.graph.types[value].shape), np.int64)

    def carry_constants(self, node: Node) -> None:
        """Follow the biases through an operation whose results no population sends."""
        missing = [output for output in node.outputs if output not in self.constants]
        if missing:
            results = node.op.evaluate(*(self.constants[name] for name in node.inputs))
            self.constants.update(zip(node.outputs, results, strict=True))

    def connect(self, terms: Iterable[Term], population: Population, port: int = 0) -> None:
        """Project terms of a population's shape onto it."""
        for term in terms:
            projection, ones = term.relation.projection(population, port)
            if term.late:
                self.late[len(self._projections)] = term.late
                self.remembers = True
            self._projections.append(projection)
            if ones is not None:
                self._kernels[ones.name] = ones

    def has(self, population: str) -> bool:
        """Whether there is a population of that name."""
        return population in self._populations

    def role_of(self, term: Term) -> Role:
        """The role of the population that a term reads."""
        return self._populations[term.relation.population].role

    def kernel(self, node: Node, op: Convolution | Linear | RecurrentNeuron) -> Kernel:
        """The kernel of a node with weights, as narrow as its largest weight allows."""
        largest = int(np.abs(op.weight.astype(np.int64)).max(initial=0))
        kernel = Kernel(
            node.name,
            op.weight.shape,
            bits=1 + max(largest.bit_length(), 1),
            nonzero=int(np.count_nonzero(op.weight)),
            tensor=f"{node.name}/weight",
        )
        self._kernels[kernel.name] = kernel
        return kernel

    def materialise(self, value: str) -> None:
        """Put a population where a value is, so that it is sent as one number.

        Spikes are sent on by a LIF that any of them lifts over its threshold, everything else by an
        accumulator, which is a neuron program.
        """
        if self.graph.types[value].kind != SPIKES or self.constants[value].any():
            self.materialise_as(value, value)
            return
        terms = self.terms[value]
        population = self.add_population(value, value, "neuron", EXISTING, variables=1)
        self.connect(terms, population)
        self.origins[population.name] = self.graph.producers[value]
        self.define(value, population)

    def materialise_as(self, result: str, value: str) -> Population:
        """An accumulator population that receives a value and sends another; it may work on it between."""
        terms = self.terms[value]
        combine: Combine = "max" if any(term.combine == "max" for term in terms) else "sum"
        population = self.add_population(result, result, "accumulator", PROGRAM, variables=1, combine=combine)
        self.connect(terms, population)
        self.biases[population.name] = self.constants[value]
        self.define(result, population)
        return population

    def sum_terms(self, value: str) -> tuple[Term, ...]:
        """The terms of a value that add up."""
        if any(term.combine == "max" for term in self.terms[value]):
            self.materialise(value)
        return self.terms[value]

    def plain_terms(self, value: str) -> tuple[Term, ...]:
        """The terms of a value, each of which is one neuron an element, and none of which is late."""
        terms = self.terms[value]
        if not all(one.relation.is_plain and one.combine == "sum" and not one.late for one in terms):
            self.materialise(value)
        return self.terms[value]

    def carry(self, value: str, change: Callable[[Relation], Relation], node: Node) -> tuple[Term, ...]:
        """The terms of a value with each relation changed, from a new population if it must be.

        Raises:
            UnsupportedError: SL0602, not even a population there makes the change possible.
        """
        try:
            return self._changed(value, change, node)
        except NotExpressibleError:
            pass
        try:
            if not self._is_population(value):
                self.materialise(value)
            return self._changed(value, change, node)
        except NotExpressibleError as error:
            raise UnsupportedError.of(
                "SL0602",
                f"{node.name} at {node.source}",
                f"{node.op.name} has no form on the chip: {error}",
                remedy="keep each axis whole, or cut it into equal parts",
            ) from error

    def network(self, outputs: tuple[str, ...]) -> Network:
        """The finished network."""
        used = {projection.kernel for projection in self._projections}
        return Network(
            self.graph.name,
            tuple(self._populations.values()),
            tuple(self._projections),
            tuple(kernel for name, kernel in self._kernels.items() if name in used),
            outputs,
            self.steps,
        )

    def _changed(self, value: str, change: Callable[[Relation], Relation], node: Node) -> tuple[Term, ...]:
        shape = self.graph.types[value].shape
        return tuple(
            Term(change(one.relation), one.combine, self._moved(one, shape, node.op))
            for one in self.terms[value]
        )

    def _moved(self, term: Term, shape: tuple[int, ...], op: Op) -> Lateness:
        """What the elements of a value are late by, after an operation, where they differ.

        Elements that only move take it with them; else it is their neuron's.

        Raises:
            NotExpressibleError: an element has several neurons, or a neuron several elements.
        """
        late = term.late
        if not late.taken.any():
            return late
        if isinstance(op, Reshape | Transpose):
            (moved,) = op.evaluate(np.broadcast_to(late.taken, shape)[None])
            return Lateness(late.sent, moved[0])
        source = self._populations[term.relation.population]
        if not term.relation.is_plain or term.combine == "max":
            raise NotExpressibleError("a sum of what is late by different steps")
        return Lateness(late.sent + _by_source(term.relation, source, late.taken), NOW.taken)

    def _is_population(self, value: str) -> bool:
        (term, *others) = self.terms[value]
        whole = Relation.identity(self._populations[term.relation.population])
        return not others and (term.relation, term.combine, bool(term.late)) == (whole, "sum", False)


def _by_source(relation: Relation, source: Population, taken: Array) -> Array:
    """[source neurons] of what is said for elements of a value that are one neuron each.

    Raises:
        NotExpressibleError: elements of one neuron differ.
    """
    value = Population("value", relation.shape, "neuron", (0, 1))
    projection, _ = relation.projection(value)
    found = expand(projection, Box(tuple((0, size) for size in projection.target_sizes)))
    flat = np.broadcast_to(taken, relation.shape).reshape(-1)[found.target]
    by_source: Array = np.zeros(source.size, np.int64)
    by_source[found.source] = flat
    if (by_source[found.source] != flat).any():
        raise NotExpressibleError("a neuron that is late by different steps")
    return by_source


Rule = Callable[[Lowering, Node], None]
_RULES: dict[type[Op], Rule] = {}


def register(*ops: type[Op]) -> Callable[[Rule], Rule]:
    """Decorator that makes a function the rule of operations.

    Raises:
        KeyError: an operation has a rule already.
    """

    def declare(rule: Rule) -> Rule:
        for op in ops:
            if _RULES.setdefault(op, rule) is not rule:
                raise KeyError(f"two rules lower {op.name}")
        return rule

    return declare


@cache
def _load_all() -> None:
    package = importlib.import_module("spikeloom.targets.loihi.lowering")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def rules() -> Mapping[type[Op], Rule]:
    """The rule of every operation that has one.

    >>> sorted(op.name for op in rules())[:3]
    ['add', 'broadcast', 'concat']
    """
    _load_all()
    return dict(_RULES)
