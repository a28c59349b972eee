"""Sum over time."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body
from spikeloom.targets.onnx.writer import Call, Tensor, Writer


@emits(Accumulate)
def accumulate(writer: Writer, op: Accumulate, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function that adds and keeps the sum."""
    x = writer.held_as(inputs[0], "int32")
    body = Body()
    body.node("Add", "x", "total", output="y")
    body.node("Identity", "y", output="total'")
    function = body.function("Accumulate", ["x", "total"], ["y", "total'"], "total = total + x.")
    call = Call(function, (f"{writer.at}/total",), (), {}, "int32")
    return (Tensor(writer.advance(call, x), outputs[0], x.order, "int32"),)
