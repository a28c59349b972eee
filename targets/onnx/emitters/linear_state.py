"""A linear recurrence."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.linear_state import LinearState
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body
from spikeloom.targets.onnx.writer import Call, Tensor, Writer


@emits(LinearState)
def linear_state(writer: Writer, op: LinearState, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function in float64, which holds every sum; the shift moves the exponents."""
    last = len(inputs[0].order) - 1
    order = (*(axis for axis in inputs[0].order if axis != last), last)
    x = writer.arranged(writer.held_as(inputs[0], "int32"), order)
    body = Body()
    turned = body.node("MatMul", body.cast("m", "float64"), "matrix")
    driven = body.node("Mul", body.cast("x", "float64"), "gain")
    total = body.node("Add", body.node("Add", turned, driven), "bias")
    clipped = body.node("Clip", body.node("Floor", total), "least", "most")
    body.cast(clipped, "int32", output="y")
    body.node("Identity", "y", output="m'")
    function = body.function(
        "LinearState",
        ["x", "m", "matrix", "gain", "bias", "least", "most"],
        ["y", "m'"],
        "m = clip(floor(m matrix + x gain + bias)).",
    )
    bias = np.zeros((), np.int64) if op.bias is None else op.bias
    unit = 2.0**op.shift
    constants = (
        (op.matrix.T / unit, "matrix"),
        (x.aligned(op.gain) / unit, "gain"),
        (x.aligned(bias + op.half) / unit, "bias"),
        (np.array(-float(op.limit)), "least"),
        (np.array(float(op.limit)), "most"),
    )
    names = tuple(writer.constant(value, hint) for value, hint in constants)
    call = Call(function, (f"{writer.at}/m",), names, {}, "int32")
    return (Tensor(writer.advance(call, x), outputs[0], order, "int32"),)
