"""Conv, Gemm, and MatMul with a constant."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.frontends.onnx.file import OnnxNode
from spikeloom.compiler.frontends.onnx.walk import NotExpressibleError, Walk
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.errors import counted


def convolution(walk: Walk, node: OnnxNode) -> str:
    """Conv over one axis or two."""
    weight = walk.constant(node, 1)
    axes = weight.ndim - 2
    if axes not in (1, 2):
        raise NotExpressibleError(f"a convolution over {axes} axes")
    told = node.attributes
    bias = walk.constant(node, 2) if len(node.used) > 2 else None
    stride, dilation = (tuple(told.get(key, [1] * axes)) for key in ("strides", "dilations"))
    geometry = (stride, symmetric(node, axes), dilation, int(told.get("group", 1)))
    kind = Conv1d if axes == 1 else Conv2d
    return walk.add(node, kind(weight, bias, *geometry), walk.input(node))


def symmetric(node: OnnxNode, axes: int) -> tuple[int, ...]:
    """The padding of each axis, the same on both ends.

    Raises:
        NotExpressibleError: it is not.
    """
    if node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise NotExpressibleError(f"pads by {node.attributes['auto_pad']}")
    pads = tuple(node.attributes.get("pads", [0] * 2 * axes))
    if pads[:axes] != pads[axes:]:
        raise NotExpressibleError(f"pads {list(pads)} differ from end to end")
    return pads[:axes]


def gemm(walk: Walk, node: OnnxNode) -> str:
    """Gemm: alpha A B + beta C."""
    told = node.attributes
    if told.get("transA", 0):
        raise NotExpressibleError("its input is transposed")
    weight = np.asarray(walk.constant(node, 1)) * told.get("alpha", 1.0)
    weight = weight if told.get("transB", 0) else weight.T
    bias = None
    if len(node.used) > 2:
        bias = np.broadcast_to(walk.constant(node, 2) * told.get("beta", 1.0), (len(weight),))
    return walk.add(node, Linear(weight, bias), walk.input(node))


def product(walk: Walk, node: OnnxNode) -> str:
    """MatMul: with stored weights on its right, or of two values."""
    if node.inputs[1] in walk.constants:
        weight: Array = walk.constant(node, 1)
        if weight.ndim != 2:
            raise NotExpressibleError(f"its weight has {counted(weight.ndim, 'axis', 'axes')}")
        return walk.add(node, Linear(weight.T, None), walk.input(node))
    return walk.add(node, MatMul(), walk.input(node, 0), walk.input(node, 1))
