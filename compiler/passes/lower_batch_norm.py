"""Batch norms become affine maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.batch_norm import BatchNorm
from spikeloom.compiler.graph.passes import Pass, PassResult
from spikeloom.compiler.graph.rewrite import rewrite


@dataclass(frozen=True)
class LowerBatchNorm(Pass):
    """Replace every batch norm by the affine map of its stored statistics, in float64."""

    name: ClassVar[str] = "lower-batch-norm"
    needs: ClassVar[Stage] = Stage.CAPTURED
    gives: ClassVar[Stage] = Stage.CAPTURED

    def apply(self, graph: Graph) -> PassResult:
        """Rewrite the graph."""
        if not any(isinstance(node.op, BatchNorm) for node in graph.nodes):
            return PassResult(graph, False)

        def visit(builder: GraphBuilder, node: Node, inputs: tuple[str, ...]) -> Sequence[str] | None:
            if not isinstance(node.op, BatchNorm):
                return None
            rank = len(builder.types[inputs[0]].shape)
            return builder.add(node.name, Affine(*node.op.affine(rank)), *inputs, source=node.source)

        return PassResult(rewrite(graph, visit), True)
