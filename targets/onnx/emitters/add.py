"""Addition."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.add import Add
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import DataType, Tensor, Writer


@emits(Add)
def add(writer: Writer, op: Add, inputs: Tensors, outputs: Types) -> Tensors:
    """``Add`` in uint8 where operands and sum fit, else in int32."""
    a, b = inputs
    bytes_suffice = a.dtype == b.dtype == "uint8" and outputs[0].kind.bounds[1] <= 255
    dtype: DataType = "uint8" if bytes_suffice else "int32"
    held = (writer.held_as(writer.arranged(x, a.order), dtype).name for x in inputs)
    return (Tensor(writer.node("Add", *held, hint="sum"), outputs[0], a.order, dtype),)
