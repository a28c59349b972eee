"""AveragePool, GlobalAveragePool, MaxPool, ReduceMean and ReduceSum."""

from __future__ import annotations

from spikeloom.compiler.frontends.onnx.file import OnnxNode
from spikeloom.compiler.frontends.onnx.rules.weights import symmetric
from spikeloom.compiler.frontends.onnx.walk import NotExpressibleError, Walk
from spikeloom.compiler.graph.ops.avg_pool2d import AvgPool2d
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.mean import Mean
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape


def window(walk: Walk, node: OnnxNode) -> str:
    """AveragePool and MaxPool over two axes."""
    told = node.attributes
    kernel = tuple(told["kernel_shape"])
    if len(kernel) != 2 or told.get("ceil_mode", 0) or any(size != 1 for size in told.get("dilations", ())):
        raise NotExpressibleError(f"pools by {list(kernel)}, dilated, or rounding sizes up")
    geometry = (kernel, tuple(told.get("strides", (1, 1))), symmetric(node, 2))
    if node.op == "MaxPool":
        return walk.add(node, MaxPool2d(*geometry), walk.input(node))
    counted = bool(told.get("count_include_pad", 0)) or not any(geometry[2])
    return walk.add(node, AvgPool2d(*geometry, counted), walk.input(node))


def everywhere(walk: Walk, node: OnnxNode) -> str:
    """GlobalAveragePool: the mean over all positions, of which one is left."""
    x, shape = walk.input(node), walk.shape(node.inputs[0])
    mean = walk.add(node, Mean(tuple(range(1, len(shape)))), x)
    return walk.add(node, Reshape(walk.shape(node.outputs[0])), mean)


def reduce(walk: Walk, node: OnnxNode) -> str:
    """ReduceMean and ReduceSum, whose axes are an attribute or an input."""
    given = node.attributes.get("axes")
    if given is None:
        given = walk.constant(node, 1).reshape(-1).tolist()
    axes = walk.axes(node, given)
    op = Mean(axes) if node.op == "ReduceMean" else ReduceSum(axes)
    reduced = walk.add(node, op, walk.input(node))
    shape = walk.shape(node.outputs[0])
    return walk.add(node, Reshape(shape), reduced) if node.attributes.get("keepdims", 1) else reduced
