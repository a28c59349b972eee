"""The largest element along one axis."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.reduce_max import ReduceMax
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(ReduceMax)
def reduce_max(writer: Writer, op: ReduceMax, inputs: Tensors, outputs: Types) -> Tensors:
    """``ReduceMax``, which keeps the axis."""
    x = writer.held_as(inputs[0], "int32")
    axes = writer.integers((x.place(op.axis),), "axes")
    name = writer.node("ReduceMax", x.name, axes, hint="largest", keepdims=1)
    return (Tensor(name, outputs[0], x.order, "int32"),)
