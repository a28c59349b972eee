"""Sum over axes."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.layout import without
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(ReduceSum)
def reduce_sum(writer: Writer, op: ReduceSum, inputs: Tensors, outputs: Types) -> Tensors:
    """``ReduceSum`` in int32: ONNX has none in uint8."""
    x = writer.held_as(inputs[0], "int32")
    axes = writer.integers((x.place(axis) for axis in op.axes), "axes")
    name = writer.node("ReduceSum", x.name, axes, hint="sum", keepdims=0)
    return (Tensor(name, outputs[0], without(x.order, op.axes), "int32"),)
