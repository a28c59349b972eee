"""Values of another time are nothing."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body
from spikeloom.targets.onnx.writer import Call, Tensor, Writer


@emits(TimeGate)
def time_gate(writer: Writer, op: TimeGate, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function that multiplies by whether the gate is open, and counts the step."""
    x = writer.held_as(inputs[0], "int32")
    body = Body()
    body.node("Mul", "x", body.node("Gather", "open", "step", axis=0), output="y")
    body.node("Min", body.node("Add", "step", body.number(1, "int32")), "last", output="step'")
    function = body.function(
        "TimeGate",
        ["x", "step", "open", "last"],
        ["y", "step'"],
        "y = x where open[step] is 1, else 0 ; step = min(step + 1, last).",
    )
    last = op.start + op.steps
    is_open = np.repeat(np.array([0, 1, 0], np.int32), (op.start, op.steps, 1))
    columns = is_open.reshape(-1, *(1,) * len(x.shape))
    names = (writer.constant(columns, "open"), writer.constant(np.array(last, np.int32), "last"))
    call = Call(function, (f"{writer.at}/step",), names, {}, "int32", (((), ()),))
    return (Tensor(writer.advance(call, x), outputs[0], x.order, "int32"),)
