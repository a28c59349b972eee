"""Weights and biases of recurrent layers become layers of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.passes import Pass, PassResult
from spikeloom.compiler.graph.rewrite import rewrite


@dataclass(frozen=True)
class PartFeedback(Pass):
    """Leave a recurrent layer nothing but its neurons and their way back.

    Of y = A x + b + W s, A and b become a linear map in front of it, or b alone an offset.
    """

    name: ClassVar[str] = "part-feedback"
    needs: ClassVar[Stage] = Stage.CAPTURED
    gives: ClassVar[Stage] = Stage.CAPTURED

    def apply(self, graph: Graph) -> PassResult:
        """Rewrite the graph."""
        if not any(_is_whole(node) for node in graph.nodes):
            return PassResult(graph, False)

        def visit(builder: GraphBuilder, node: Node, inputs: tuple[str, ...]) -> Sequence[str] | None:
            op = node.op
            if not isinstance(op, FeedbackNeuron) or not _is_whole(node):
                return None
            offset = np.zeros(()) if op.bias is None else op.bias
            before = Affine(np.ones(()), offset) if op.ahead is None else Linear(op.ahead, op.bias)
            driven = builder.add(builder.unique(f"{node.name}.input"), before, *inputs, source=node.source)
            return builder.add(node.name, replace(op, ahead=None, bias=None), *driven, source=node.source)

        return PassResult(rewrite(graph, visit), True)


def _is_whole(node: Node) -> bool:
    op = node.op
    return isinstance(op, FeedbackNeuron) and (op.ahead is not None or op.bias is not None)
