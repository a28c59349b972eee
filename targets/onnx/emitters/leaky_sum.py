"""Sum over time that fades."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.leaky_sum import KEEP_ONE, LeakySum
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body
from spikeloom.targets.onnx.writer import Call, Tensor, Writer


@emits(LeakySum)
def leaky_sum(writer: Writer, op: LeakySum, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function; float64 holds a total times 4096, and a cast drops the fraction."""
    x = writer.held_as(inputs[0], "int32")
    body = Body()
    kept = body.node("Mul", body.cast("total", "float64"), "share")
    drive = body.node("Add", body.node("Mul", "x", "unit"), "bias")
    body.node("Add", body.cast(kept, "int32"), drive, output="y")
    body.node("Identity", "y", output="total'")
    function = body.function(
        "LeakySum",
        ["x", "total", "share", "unit", "bias"],
        ["y", "total'"],
        "total = trunc(total share) + x unit + bias.",
    )
    bias = np.zeros((), np.int64) if op.bias is None else op.bias
    constants = (
        writer.constant(np.array(op.keep / KEEP_ONE), "share"),
        writer.constant(np.array(1 << op.fraction_bits, np.int32), "unit"),
        writer.constant(x.aligned(bias).astype(np.int32), "bias"),
    )
    call = Call(function, (f"{writer.at}/total",), constants, {}, "int32")
    return (Tensor(writer.advance(call, x), outputs[0], x.order, "int32"),)
