"""Concat, Flatten, Reshape, Squeeze, Transpose and Unsqueeze."""

from __future__ import annotations

from spikeloom.compiler.frontends.onnx.file import OnnxNode
from spikeloom.compiler.frontends.onnx.walk import NotExpressibleError, Walk
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.transpose import Transpose


def reshape(walk: Walk, node: OnnxNode) -> str:
    """The same elements under another shape, sample by sample."""
    shape = walk.shape(node.outputs[0])
    x = walk.input(node)
    return x if shape == walk.shape(node.inputs[0]) else walk.add(node, Reshape(shape), x)


def transpose(walk: Walk, node: OnnxNode) -> str:
    """Another order of axes; the batch stays in front."""
    rank = len(walk.shapes[node.inputs[0]])
    order = tuple(node.attributes.get("perm", range(rank)[::-1]))
    if order[0] != 0:
        raise NotExpressibleError("it moves the batch")
    return walk.add(node, Transpose(tuple(axis - 1 for axis in order[1:])), walk.input(node))


def concat(walk: Walk, node: OnnxNode) -> str:
    """Values one after the other."""
    (axis,) = walk.axes(node, [node.attributes["axis"]])
    return walk.add(node, Concat(axis), *(walk.input(node, index) for index in range(len(node.inputs))))
