"""Graphs within graphs become one graph."""

from __future__ import annotations

from spikeloom.compiler.frontends.nir.file import NirGraph, NirNode
from spikeloom.errors import InputError, Problem

DEEPEST = 32
"""Graphs within graphs that a file may hold."""


def flatten(graph: NirGraph) -> NirGraph:
    """The same network without graphs within it: a node ``n`` of a graph ``g`` is called ``g.n``.

    Inputs and outputs of inner graphs stay, as nodes that pass on what they are given.

    Raises:
        InputError: SL0211, an inner graph has several inputs or outputs, two nodes get one name, or graphs
            are nested too deeply.
    """
    nodes: dict[str, NirNode | NirGraph] = {}
    edges: list[tuple[str, str]] = []
    problems: list[Problem] = []
    _inline(graph, "", nodes, edges, problems)
    if problems:
        raise InputError(problems)
    return NirGraph(nodes, tuple(edges), graph.metadata, graph.version)


def _inline(
    graph: NirGraph,
    prefix: str,
    nodes: dict[str, NirNode | NirGraph],
    edges: list[tuple[str, str]],
    problems: list[Problem],
) -> None:
    if prefix.count(".") > DEEPEST:
        problems.append(Problem("SL0211", prefix, "is nested too deeply", f"{DEEPEST} graphs"))
        return
    inner = {name: node for name, node in graph.nodes.items() if isinstance(node, NirGraph)}
    for name, node in graph.nodes.items():
        if isinstance(node, NirGraph):
            _inline(node, f"{prefix}{name}.", nodes, edges, problems)
            continue
        if prefix + name in nodes:
            problems.append(Problem("SL0211", prefix + name, "two nodes have this name"))
        nodes[prefix + name] = node
    ends = {
        name: {kind: _ends(node, kind, prefix + name, problems) for kind in ("Input", "Output")}
        for name, node in inner.items()
    }
    for source, target in graph.edges:
        tail = f"{source}.{ends[source]['Output']}" if source in inner else source
        head = f"{target}.{ends[target]['Input']}" if target in inner else target
        edges.append((prefix + tail, prefix + head))


def _ends(graph: NirGraph, kind: str, where: str, problems: list[Problem]) -> str:
    """The name of the only input or output of a graph."""
    names = [name for name, node in graph.nodes.items() if isinstance(node, NirNode) and node.type == kind]
    if len(names) != 1:
        problems.append(Problem("SL0211", where, f"has {len(names)} nodes {kind}", "one"))
        return ""
    return names[0]
