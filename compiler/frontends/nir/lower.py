"""From a NIR graph to a graph of ours, for one way to execute it."""

from __future__ import annotations

import networkx

from spikeloom.compiler.frontends.nir.file import NirGraph, NirNode
from spikeloom.compiler.frontends.nir.flatten import flatten
from spikeloom.compiler.frontends.nir.loops import find_loops
from spikeloom.compiler.frontends.nir.rules import RULES
from spikeloom.compiler.frontends.nir.semantics import Semantics
from spikeloom.compiler.frontends.nir.walk import NotExpressibleError, Walk
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import Kind
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.errors import InternalError, Problem, UnsupportedError


def lower_nir(nir: NirGraph, semantics: Semantics, kind: Kind, name: str = "nir", steps: int = 0) -> Graph:
    """Make a graph at stage CAPTURED, that the passes and the quantizer take.

    Args:
        nir: one input, one output, cycles of one layer of neurons; graphs within it are taken apart.
        semantics: how its neurons are executed.
        kind: which integers the input may hold.
        name: of the graph.
        steps: time steps of a sample; 0 if not known.

    Raises:
        UnsupportedError: SL0302, one problem for each node that has no counterpart.
        InputError: SL0211, graphs within it cannot be taken apart.
    """
    nir = flatten(nir)
    loops = find_loops(nir, semantics, name)
    if problems := list(loops.problems):
        raise UnsupportedError(problems)
    order = loops.order
    walk = Walk(GraphBuilder(name, Stage.CAPTURED), semantics, kind, steps, back=loops.back)
    for node in networkx.lexicographical_topological_sort(order):
        sources = [source for source, target in nir.edges if target == node and order.has_edge(source, node)]
        problems += _visit(walk, node, nir.nodes[node], sources)
    outputs = [node for node in nir.nodes if _type(nir.nodes[node]) == "Output" and not order[node]]
    if not problems and len(outputs) != 1:
        got = ", ".join(outputs) or "none"
        problems.append(Problem("SL0302", name, "has several outputs or none", "one output", got))
    if problems:
        raise UnsupportedError(problems)
    walk.builder.output(walk.values[outputs[0]])
    return walk.builder.build()


def _type(node: NirNode | NirGraph) -> str:
    return node.type if isinstance(node, NirNode) else "NIRGraph"


def _visit(walk: Walk, name: str, node: NirNode | NirGraph, sources: list[str]) -> list[Problem]:
    """Lower one node; what follows a node that failed is passed over."""
    if any(source not in walk.values for source in sources):
        return []
    try:
        if not isinstance(node, NirNode) or node.type not in RULES:
            raise NotExpressibleError(f"{_type(node)} has no counterpart")
        if not sources and node.type != "Input":
            raise NotExpressibleError("nothing goes into it")
        walk.values[name] = RULES[node.type](walk, name, node, _sum(walk, name, sources))
    except (NotExpressibleError, InternalError) as error:
        what = error.problems[0].what if isinstance(error, InternalError) else str(error)
        return [Problem("SL0302", name, what)]
    return []


def _sum(walk: Walk, name: str, sources: list[str]) -> str:
    """The inputs of a node added up, as NIR means several edges."""
    if not sources:
        return ""
    total = walk.values[sources[0]]
    for source in sources[1:]:
        total = walk.add(f"{name}.sum", Add(), total, walk.values[source])
    return total
