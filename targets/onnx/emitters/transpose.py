"""Axes in another order."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(Transpose)
def transpose(writer: Writer, op: Transpose, inputs: Tensors, outputs: Types) -> Tensors:
    """Nothing moves: the axes get their new numbers."""
    (x,) = inputs
    return (Tensor(x.name, outputs[0], tuple(op.order.index(axis) for axis in x.order), x.dtype),)
