"""Building a changed copy of a graph, node by node."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node

Visit = Callable[[GraphBuilder, Node, tuple[str, ...]], Sequence[str] | None]


def rewrite(graph: Graph, visit: Visit) -> Graph:
    """Copy a graph, letting ``visit`` replace nodes.

    A value of the copy keeps the unit of the value that it stands for, unless ``visit`` gave it one.

    Args:
        graph: the graph to copy.
        visit: called as ``visit(builder, node, inputs)`` in order, with the names that the node's
            inputs have in the copy. It appends what replaces the node and returns the names of
            the values that stand for the node's outputs; or None to copy the node as it is.
    """
    builder = GraphBuilder(graph.name, graph.stage, graph.profile)
    names = {name: builder.input(name, graph.types[name]) for name in graph.inputs}
    for node in graph.nodes:
        inputs = tuple(names[name] for name in node.inputs)
        outputs = visit(builder, node, inputs)
        if outputs is None:
            outputs = builder.add(node.name, node.op, *inputs, source=node.source)
        names.update(zip(node.outputs, outputs, strict=True))
    for name in graph.outputs:
        builder.output(names[name])
    for name, unit in graph.units.items():
        builder.units.setdefault(names[name], unit)
    return builder.build()
