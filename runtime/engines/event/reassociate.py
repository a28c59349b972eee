"""The cheaper order of attention's two products: (q k') v = q (k' v), since there is no softmax between."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.op import RuleBrokenError
from spikeloom.compiler.graph.ops.matmul import MatMul


def reassociate(graph: Graph) -> Graph:
    """Turn (a b) c into a (b c) where that takes fewer products; sums of integers are equal either way.

    The product in the middle must have no other reader, and its new interval must fit 32 bits.
    """
    for node in graph.nodes:
        inner = graph.producers.get(node.inputs[0]) if isinstance(node.op, MatMul) else None
        if inner is not None and isinstance(inner.op, MatMul) and _alone(graph, inner, node):
            graph = _turned(graph, inner, node)
    return graph


def _alone(graph: Graph, inner: Node, outer: Node) -> bool:
    return graph.consumers[inner.output] == (outer,) and inner.output not in graph.outputs


def _turned(graph: Graph, inner: Node, outer: Node) -> Graph:
    (a, b), c = inner.inputs, outer.inputs[1]
    *_, rows, width = graph.types[a].shape
    *_, middle, columns = graph.types[c].shape
    if rows * middle * (width + columns) <= width * columns * (middle + rows):
        return graph
    name = f"{inner.output}*"
    try:
        (kind,) = MatMul().infer(graph.types[b], graph.types[c])
    except RuleBrokenError:
        return graph
    first = Node(f"{inner.name}*", MatMul(), (b, c), (name,), inner.source)
    second = Node(outer.name, MatMul(), (a, name), outer.outputs, outer.source)
    nodes = [node for node in graph.nodes if node is not inner]
    at = nodes.index(outer)
    nodes[at : at + 1] = [first, second]
    return graph.replace(nodes=tuple(nodes), types={**graph.types, name: kind})
