"""Linear map of the last axis."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.product import Encoding
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(Linear)
def linear(writer: Writer, op: Linear, inputs: Tensors, outputs: Types) -> Tensors:
    """One product with the weights; the other axes may lie in any order."""
    (x,) = inputs
    last = len(x.order) - 1
    encoding = Encoding.choose(x.type.kind, op.weight)
    order = (*(axis for axis in x.order if axis != last), last)
    held = writer.arranged(encoding.encode(writer, x), order)
    rows = encoding.separate(writer, held.name, axis=len(order))
    name = encoding.multiply(writer, rows, op.weight.T[None], op.bias)
    return (Tensor(name, outputs[0], order, "int32"),)
