"""Integers brought to another unit."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(Rescale)
def rescale(writer: Writer, op: Rescale, inputs: Tensors, outputs: Types) -> Tensors:
    """In float64, whose 53 bits hold the products; only the exponent moves when they are shifted."""
    x = writer.held_as(inputs[0], "float64")
    share = writer.constant(x.aligned(op.factor).astype(np.float64) / 2**op.shift, "factor")
    name = writer.node("Mul", x.name, share, hint="product")
    if op.shift:
        half = writer.constant(np.array(0.5), "half")
        name = writer.node("Floor", writer.node("Add", name, half, hint="raised"), hint="whole")
    if op.offset is not None:
        offset = writer.constant(x.aligned(op.offset).astype(np.float64), "offset")
        name = writer.node("Add", name, offset, hint="moved")
    ends = (writer.constant(np.array(float(end)), "end") for end in (op.lo, op.hi))
    name = writer.cast(writer.node("Clip", name, *ends, hint="clipped"), "int32")
    return (Tensor(name, outputs[0], x.order, "int32"),)
