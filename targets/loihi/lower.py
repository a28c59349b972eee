"""From an integer graph to populations and projections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.relation import Relation
from spikeloom.errors import Problem, UnsupportedError
from spikeloom.targets.loihi.accumulators import with_slots
from spikeloom.targets.loihi.groups import with_programs
from spikeloom.targets.loihi.holds import with_holds
from spikeloom.targets.loihi.host import Host
from spikeloom.targets.loihi.lowering.rule import EXISTING, Lateness, Lowering, StateSizes, rules
from spikeloom.targets.loihi.program import Model
from spikeloom.targets.loihi.retime import Edge, Timing, retime
from spikeloom.targets.loihi.slots import Slots

HOLD = "wait of over 62 steps"
"""What neurons of :mod:`~spikeloom.targets.loihi.holds` are made for."""


def missing_rules(graph: Graph, chip: str) -> list[Problem]:
    """A problem for every node whose operation has no rule."""
    known, host = rules(), Host.of(graph)
    names = ", ".join(sorted(op.name for op in known))
    return [
        Problem(
            "SL0602",
            f"{node.name} at {node.source}",
            f"{node.op.name} cannot be lowered to {chip}",
            wanted=names,
            remedy="change the model, or compile it for onnx",
        )
        for node in graph.nodes
        if type(node.op) not in known and node.name not in host.nodes
    ] + host.problems()


@dataclass(frozen=True)
class Lowered:
    """What a graph becomes.

    Attributes:
        graph: the integer graph.
        network: populations and projections.
        timing: when each population works, and which synapses wait.
        biases: of a population, [1, ...], constants of what it receives, in units of the sum.
        origins: the node of the graph that a population executes, where it executes one.
        made_for: of a population, the operation whose rule made it, or :data:`HOLD`.
        output_bias: what is given out in every step beside what the output's population gives.
        sums_over_time: whether the host adds up what the output population gives.
        slots: of populations that do not take and send in slot 0; None: in every slot.
        models: of populations whose role does not tell.
        late: of projections by number, network steps by which their synapses are late.
        remembers: whether messages outlive the network step in which they were sent.
    """

    graph: Graph
    network: Network
    timing: Timing
    biases: Mapping[str, Array]
    origins: Mapping[str, Node]
    made_for: Mapping[str, str]
    output_bias: Array
    sums_over_time: bool
    slots: Mapping[str, Slots | None]
    models: Mapping[str, Model]
    late: Mapping[int, Lateness]
    remembers: bool


def lower(graph: Graph, sizes: StateSizes, chip: str) -> Lowered:
    """Apply the rule of every node in order.

    A value that the graph gives out and no population sends becomes a readout population: neurons
    that never fire and whose current is read by the chip's processors in every step. A sum over
    time and what follows it is the host's.

    Raises:
        UnsupportedError: SL0602, for every operation that has no rule.
    """
    problems = missing_rules(graph, chip)
    if problems:
        raise UnsupportedError(problems)
    state = Lowering(graph, sizes)
    table = rules()
    host = Host.of(graph)
    for node in graph.nodes:
        if node.name not in host.nodes:
            state.operation = node.op.name
            table[type(node.op)](state, node)
            state.carry_constants(node)
    state.operation, value = "output", host.given
    output = _output(state, value)
    network = state.network((output,))
    late_by = _latest(state, network)
    network, timing = with_holds(network, retime(network), sizes.variable, late_by)
    network, timing = with_slots(network, timing, _latest(state, network), sizes.slot)
    network = with_programs(network, state, timing)
    return Lowered(
        graph,
        network,
        timing,
        state.biases,
        state.origins,
        {one.name: state.made_for.get(one.name, HOLD) for one in network.populations},
        state.constants[value][0],
        host.summing is not None,
        state.slots,
        state.models,
        state.late,
        state.remembers,
    )


def _latest(state: Lowering, network: Network) -> dict[Edge, int]:
    """Chip steps by which the latest synapse of each edge is late by network steps."""
    found: dict[Edge, int] = {}
    for number, late in state.late.items():
        edge = network.projections[number].source, network.projections[number].target
        found[edge] = max(found.get(edge, 0), late.longest * network.steps)
    return found


def _output(state: Lowering, value: str) -> str:
    terms = state.sum_terms(value)
    if len(terms) == 1 and not terms[0].late and _in_order(terms[0].relation):
        return terms[0].relation.population
    name = f"{value}.read" if state.has(value) else value
    population = state.add_population(name, value, "readout", EXISTING, variables=1, tells=name != value)
    state.connect(terms, population)
    return population.name


def _in_order(relation: Relation) -> bool:
    """Whether a value is all of a population, neuron by neuron."""
    digits = [(digit.key, digit.size) for axis in relation.axes for digit in axis if digit.size > 1]
    links = [link.axis for group in relation.links for link in group if link.axis.size > 1]
    return relation.is_plain and digits == [(axis.target, axis.size) for axis in links]
