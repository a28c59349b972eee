"""Concatenation."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import DataType, Tensor, Writer


@emits(Concat)
def concat(writer: Writer, op: Concat, inputs: Tensors, outputs: Types) -> Tensors:
    """``Concat`` in the order of the first input and the widest data type."""
    first = inputs[0]
    dtype: DataType = "uint8" if all(x.dtype == "uint8" for x in inputs) else "int32"
    held = [writer.arranged(writer.held_as(x, dtype), first.order).name for x in inputs]
    return (Tensor(writer.concat(held, first.place(op.axis)), outputs[0], first.order, dtype),)
