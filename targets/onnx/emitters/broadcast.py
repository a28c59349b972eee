"""Axes of one element repeated."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.layout import arrange
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(Broadcast)
def broadcast(writer: Writer, op: Broadcast, inputs: Tensors, outputs: Types) -> Tensors:
    """``Expand``."""
    (x,) = inputs
    shape = writer.integers((1, *arrange(op.shape, x.order)), "shape")
    return (Tensor(writer.node("Expand", x.name, shape, hint="repeated"), outputs[0], x.order, x.dtype),)
