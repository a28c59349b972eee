"""From an integer graph to populations and projections."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.mapping.network import Network
from spikeloom.errors import Problem, UnsupportedError
from spikeloom.targets.loihi.lowering.rule import EXISTING, Lowering, StateSizes, rules


def missing_rules(graph: Graph) -> list[Problem]:
    """A problem for every node whose operation has no rule."""
    known = rules()
    names = ", ".join(sorted(op.name for op in known))
    return [
        Problem(
            "SL0602",
            f"{node.name} at {node.source}",
            f"{node.op.name} cannot be lowered to loihi2",
            wanted=names,
            remedy="change the model, or compile it for onnx",
        )
        for node in graph.nodes
        if type(node.op) not in known
    ]


def lower(graph: Graph, sizes: StateSizes) -> Network:
    """Apply the rule of every node in order.

    A value that the graph gives out and no population sends becomes a readout population: neurons
    that never fire and whose current is read by the chip's processors in every step.

    Raises:
        UnsupportedError: SL0602, for every operation that has no rule.
    """
    problems = missing_rules(graph)
    if problems:
        raise UnsupportedError(problems)
    state = Lowering(graph, sizes)
    table = rules()
    for node in graph.nodes:
        table[type(node.op)](state, node)
    return state.network(tuple(_output(state, value) for value in graph.outputs))


def _output(state: Lowering, value: str) -> str:
    terms = state.terms[value]
    if len(terms) == 1 and terms[0].relation.is_plain:
        return terms[0].relation.population
    population = state.add_population(value, value, "readout", EXISTING, variables=1)
    state.connect(state.sum_terms(value), population)
    return population.name
