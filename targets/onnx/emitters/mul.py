"""Product of two values, element by element."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import DataType, Tensor, Writer


@emits(Mul)
def mul(writer: Writer, op: Mul, inputs: Tensors, outputs: Types) -> Tensors:
    """``Mul`` in uint8 where operands and product fit, else in int32."""
    a, b = inputs
    bytes_suffice = a.dtype == b.dtype == "uint8" and outputs[0].kind.bounds[1] <= 255
    dtype: DataType = "uint8" if bytes_suffice else "int32"
    held = (writer.held_as(writer.arranged(x, a.order), dtype).name for x in inputs)
    return (Tensor(writer.node("Mul", *held, hint="product"), outputs[0], a.order, dtype),)
