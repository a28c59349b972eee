"""A piece of one axis."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.slice import Slice
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(Slice)
def cut(writer: Writer, op: Slice, inputs: Tensors, outputs: Types) -> Tensors:
    """``Slice``."""
    (x,) = inputs
    name = writer.slice(x.name, {x.place(op.axis): (op.start, op.stop, op.step)})
    return (Tensor(name, outputs[0], x.order, x.dtype),)
