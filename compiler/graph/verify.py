"""The verifier: does a graph keep the rules of its operations and of its stage?"""

from __future__ import annotations

from collections import Counter

from spikeloom.compiler.graph.graph import Graph, Node, Stage
from spikeloom.errors import InternalError, Problem


def verify(graph: Graph) -> None:
    """Check names, order, types and stage; every fault is listed.

    In an integer graph every value is an integer, which is the proof that nothing overflows.

    Raises:
        InternalError: SL0401 for each fault.
    """
    problems = _check_names(graph) + _check_nodes(graph) + _check_ends(graph) + _check_stage(graph)
    if problems:
        raise InternalError(problems)


def _check_names(graph: Graph) -> list[Problem]:
    uses = Counter(node.name for node in graph.nodes)
    twice = [Problem("SL0401", name, "is the name of several nodes") for name, n in uses.items() if n > 1]
    untyped = [name for name in graph.inputs if name not in graph.types]
    return twice + [Problem("SL0401", name, "is an input without a type") for name in untyped]


def _check_nodes(graph: Graph) -> list[Problem]:
    problems = []
    known = set(graph.inputs) & set(graph.types)
    for node in graph.nodes:
        missing = [name for name in node.inputs if name not in known]
        if missing:
            problems.append(_problem(node, f"uses {', '.join(missing)} before they are made"))
        elif fault := _type_fault(graph, node):
            problems.append(_problem(node, fault))
        repeated = known.intersection(node.outputs)
        if repeated:
            problems.append(_problem(node, f"makes {', '.join(sorted(repeated))} again"))
        known.update(name for name in node.outputs if name in graph.types)
    return problems


def _type_fault(graph: Graph, node: Node) -> str:
    try:
        types = node.op.infer(*graph.input_types(node))
    except ValueError as error:  # a rule that is broken, or another number of inputs
        return f"{node.op.name}: {error}"
    declared = tuple(graph.types.get(name) for name in node.outputs)
    return "" if types == declared else f"is declared to give {declared} and gives {types}"


def _check_ends(graph: Graph) -> list[Problem]:
    made = set(graph.inputs) | set(graph.producers)
    return [
        Problem("SL0401", name, "is an output that nothing makes")
        for name in graph.outputs
        if name not in made
    ]


def _check_stage(graph: Graph) -> list[Problem]:
    if graph.stage is not Stage.INTEGER:
        return []
    return [
        Problem("SL0401", name, f"is {kind} in an integer graph")
        for name, kind in graph.types.items()
        if not kind.kind.is_integer
    ]


def _problem(node: Node, fault: str) -> Problem:
    return Problem("SL0401", f"{node.name} at {node.source}", fault)
