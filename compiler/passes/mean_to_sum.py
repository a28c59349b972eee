"""Means become sums, which are exact in integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.mean import Mean
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.passes import Pass, PassResult
from spikeloom.compiler.graph.rewrite import rewrite


@dataclass(frozen=True)
class MeanToSum(Pass):
    """Replace every mean by a sum and a factor of one over the number of terms."""

    name: ClassVar[str] = "mean-to-sum"
    needs: ClassVar[Stage] = Stage.CAPTURED
    gives: ClassVar[Stage] = Stage.CAPTURED

    def apply(self, graph: Graph) -> PassResult:
        """Rewrite the graph."""
        if not any(isinstance(node.op, Mean) for node in graph.nodes):
            return PassResult(graph, False)

        def visit(builder: GraphBuilder, node: Node, inputs: tuple[str, ...]) -> Sequence[str] | None:
            if not isinstance(node.op, Mean):
                return None
            shape = builder.types[inputs[0]].shape
            factor = np.array(1.0 / prod(shape[axis] for axis in node.op.axes))
            total = builder.add(
                builder.unique(f"{node.name}.sum"), ReduceSum(node.op.axes), *inputs, source=node.source
            )
            return builder.add(node.name, Affine(factor, np.zeros(())), *total, source=node.source)

        return PassResult(rewrite(graph, visit), True)
