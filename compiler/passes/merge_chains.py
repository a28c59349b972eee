"""Chains of convolutions without a neuron between them, as in RepConv, and the one that does the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.rewrite import rewrite


@dataclass(frozen=True)
class Chain:
    """A 1 x 1 convolution, a depthwise one, and a 1 x 1 one, each read by the next alone.

    What stands around the first one's result, where it is padded, is what it gives for zeros: then all
    three are one convolution of an input that is padded with zeros,
    W[o, i, h, w] = sum over m of W2[o, m] D[m, h, w] W1[m, i].

    Attributes:
        first, depthwise, last: nodes with weights.
        between: nodes that pad the first one's result.
        padding: of the two axes.
        shape: of the input, [channels, height, width].
        result: of the chain, [channels, height, width].
    """

    first: Node
    between: tuple[Node, ...]
    depthwise: Node
    last: Node
    padding: tuple[int, int]
    shape: tuple[int, ...]
    result: tuple[int, ...]

    @property
    def weights(self) -> tuple[Array, Array, Array]:
        """Of the three, in float64."""
        one, two, three = (_conv(node).weight.astype(np.float64) for node in self._layers)
        return one, two, three

    @property
    def _layers(self) -> tuple[Node, Node, Node]:
        return self.first, self.depthwise, self.last

    def merged(self) -> Conv2d:
        """The one convolution."""
        one, two, three = self.weights
        depth = three[:, :, 0, 0]
        weight = np.einsum("om,mhw,mi->oihw", depth, two[:, 0], one[:, :, 0, 0], optimize=True)
        biases = (_bias(node) for node in self._layers)
        first, middle, last = biases
        bias = last + depth @ (middle + two[:, 0].sum((1, 2)) * first)
        return Conv2d(weight, bias, _conv(self.depthwise).stride, self.padding)

    def operations(self, density: float) -> tuple[float, float]:
        """Multiplications and additions of the chain and of the one convolution, of one time step.

        Args:
            density: share of the input that is not zero; what is between the three always is not.
        """
        one, two, three = self.weights
        inputs, outputs = prod(self.shape[1:]), prod(self.result[1:])
        chain = density * one.size * inputs + (two.size + three.size) * outputs
        dense = density * len(three) * one.shape[1] * prod(two.shape[2:]) * outputs
        return float(chain), float(dense)


def find_chains(graph: Graph) -> tuple[Chain, ...]:
    """The chains of a canonical graph that one convolution can stand for."""
    found = (_chain_to(graph, node) for node in graph.nodes)
    return tuple(chain for chain in found if chain is not None)


def merge_chain(graph: Graph, chain: Chain) -> Graph:
    """The graph with one convolution for a chain; its node has the name of the last of the three."""
    gone = (chain.first, *chain.between, chain.depthwise)

    def visit(builder: GraphBuilder, node: Node, inputs: tuple[str, ...]) -> Sequence[str] | None:
        if node in gone:
            return inputs  # of the first: the chain's own input
        if node is chain.last:
            return builder.add(node.name, chain.merged(), *inputs, source=node.source)
        return None

    return rewrite(graph, visit)


def _chain_to(graph: Graph, last: Node) -> Chain | None:
    depthwise = _before(graph, last)
    if not _is_pointwise(last) or depthwise is None or not _is_depthwise(depthwise):
        return None
    between: list[Node] = []
    node = _before(graph, depthwise)
    while node is not None and isinstance(node.op, (Pad, Affine)) and len(between) < 2:
        between.insert(0, node)
        node = _before(graph, node)
    if node is None or not _is_pointwise(node):
        return None
    padding = _padding(node, between, depthwise, graph)
    if padding is None:
        return None
    shapes = (graph.types[node.inputs[0]].shape, graph.types[last.output].shape)
    return Chain(node, tuple(between), depthwise, last, padding, *shapes)


def _before(graph: Graph, node: Node) -> Node | None:
    """What gives a node its only operand, if nothing else reads it."""
    if len(node.inputs) != 1 or node.inputs[0] in graph.outputs:
        return None
    before = graph.producers.get(node.inputs[0])
    return before if len(graph.consumers[node.inputs[0]]) == 1 else None


def _is_pointwise(node: Node) -> bool:
    op = node.op
    plain = (1, 1), (1, 1), (0, 0)
    return isinstance(op, Conv2d) and op.groups == 1 and (op.kernel, op.stride, op.padding) == plain


def _is_depthwise(node: Node) -> bool:
    op = node.op
    return (
        isinstance(op, Conv2d) and op.groups == len(op.weight) == prod(op.weight.shape[:2]) and op.groups > 1
    ) and op.dilation == (1, 1)


def _padding(first: Node, between: Sequence[Node], depthwise: Node, graph: Graph) -> tuple[int, int] | None:
    """How wide the input would be padded with zeros; None if what is padded stands for something else."""
    bias, inside = _bias(first), _conv(depthwise).padding
    if not between:
        return (inside[0], inside[1]) if not any(inside) or not bias.any() else None
    pad, *shift = (node.op for node in between)
    if not isinstance(pad, Pad) or pad.before != pad.after or pad.before[0] or any(inside):
        return None
    shape = graph.types[between[0].output].shape
    border = np.full(shape, pad.value)
    (height, width) = pad.before[1:]
    own = (slice(None), slice(height, shape[1] - height), slice(width, shape[2] - width))
    border[own] = 0
    for op in shift:
        if not isinstance(op, Affine) or (op.scale != 1).any():
            return None
        border = border + op.offset
    wanted = np.broadcast_to(bias[:, None, None], shape).copy()
    wanted[own] = 0
    return (height, width) if np.allclose(border, wanted, rtol=1e-5, atol=1e-7) else None


def _conv(node: Node) -> Conv2d:
    assert isinstance(node.op, Conv2d)
    return node.op


def _bias(node: Node) -> Array:
    op = _conv(node)
    return np.zeros(len(op.weight)) if op.bias is None else op.bias.astype(np.float64)
