"""Chains of reshapes become one, and reshapes without effect disappear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage, live_nodes
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.passes import Pass, PassResult
from spikeloom.compiler.graph.rewrite import rewrite


@dataclass(frozen=True)
class MergeReshapes(Pass):
    """Let every reshape read the first value of a chain of reshapes; drop those that change nothing."""

    name: ClassVar[str] = "merge-reshapes"
    needs: ClassVar[Stage] = Stage.CAPTURED
    gives: ClassVar[Stage] = Stage.CAPTURED

    def apply(self, graph: Graph) -> PassResult:
        """Rewrite the graph."""
        origins: dict[str, str] = {}

        def visit(builder: GraphBuilder, node: Node, inputs: tuple[str, ...]) -> Sequence[str] | None:
            if not isinstance(node.op, Reshape):
                return None
            origin = origins.get(inputs[0], inputs[0])
            if builder.types[origin].shape == node.op.shape:
                return (origin,)
            outputs = builder.add(node.name, node.op, origin, source=node.source)
            origins[outputs[0]] = origin
            return outputs

        merged = rewrite(graph, visit)
        nodes = live_nodes(merged.nodes, merged.outputs)
        if len(nodes) == len(graph.nodes):
            return PassResult(graph, False)
        kept = {*merged.inputs, *(name for node in nodes for name in node.outputs)}
        types = {name: kind for name, kind in merged.types.items() if name in kept}
        return PassResult(merged.replace(nodes=nodes, types=types), True)
