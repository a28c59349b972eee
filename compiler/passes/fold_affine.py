"""Affine maps vanish into the weights before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.passes import Pass, PassResult
from spikeloom.compiler.graph.rewrite import rewrite


@dataclass(frozen=True)
class FoldAffine(Pass):
    """Fold an affine map per output channel into the convolution or linear map before it.

    Left alone: a map whose input has another consumer, or which differs within a channel.
    A chain of affine maps is folded from the front.
    """

    name: ClassVar[str] = "fold-affine"
    needs: ClassVar[Stage] = Stage.CAPTURED
    gives: ClassVar[Stage] = Stage.CAPTURED

    def apply(self, graph: Graph) -> PassResult:
        """Rewrite the graph."""
        folded = 0
        while (pair := _foldable(graph)) is not None:
            graph = _fold(graph, *pair)
            folded += 1
        return PassResult(graph, folded > 0)


def _foldable(graph: Graph) -> tuple[Node, Node] | None:
    for node in graph.nodes:
        if not isinstance(node.op, Affine):
            continue
        before = graph.producers.get(node.inputs[0])
        if before is None or not isinstance(before.op, (Convolution, Linear)):
            continue
        alone = len(graph.consumers[before.output]) == 1 and before.output not in graph.outputs
        if alone and per_channel(before, node.op, graph) is not None:
            return before, node
    return None


def per_channel(before: Node, op: Affine, graph: Graph) -> tuple[Array, Array] | None:
    """Scale and offset [output channels] in float64; None if they vary within a channel."""
    shape = graph.types[before.output].shape
    axis = 0 if isinstance(before.op, Convolution) else len(shape) - 1
    vectors = []
    for constant in (op.scale, op.offset):
        full = constant.reshape((1,) * (len(shape) - constant.ndim) + constant.shape)
        if any(size != 1 for index, size in enumerate(full.shape) if index != axis):
            return None
        vectors.append(np.broadcast_to(full.reshape(-1), (shape[axis],)).astype(np.float64))
    return vectors[0], vectors[1]


def _fold(graph: Graph, before: Node, affine: Node) -> Graph:
    assert isinstance(before.op, (Convolution, Linear))
    assert isinstance(affine.op, Affine)
    constants = per_channel(before, affine.op, graph)
    assert constants is not None
    scale, offset = constants
    bias = np.zeros(len(scale)) if before.op.bias is None else before.op.bias.astype(np.float64)
    weight = before.op.weight.astype(np.float64) * scale.reshape(-1, *(1,) * (before.op.weight.ndim - 1))
    op = replace(before.op, weight=weight, bias=bias * scale + offset)

    def visit(builder: GraphBuilder, node: Node, inputs: tuple[str, ...]) -> Sequence[str] | None:
        if node is affine:
            return inputs
        return builder.add(node.name, op, *inputs, source=node.source) if node is before else None

    return rewrite(graph, visit)
