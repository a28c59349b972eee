"""The same elements in another shape."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.layout import arrange, reshaped
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(Reshape)
def reshape(writer: Writer, op: Reshape, inputs: Tensors, outputs: Types) -> Tensors:
    """``Reshape``, after bringing together the axes that it joins or cuts."""
    (x,) = inputs
    needed, order = reshaped(x.type.shape, x.order, op.shape)
    name = writer.reshape(writer.arranged(x, needed).name, arrange(op.shape, order))
    return (Tensor(name, outputs[0], order, x.dtype),)
