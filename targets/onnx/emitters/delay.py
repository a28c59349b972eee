"""Values that arrive later."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body, remembered
from spikeloom.targets.onnx.writer import Call, Tensor, Writer


@emits(Delay)
def delay(writer: Writer, op: Delay, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function: of all that is remembered, a mask leaves what is due."""
    x = writer.held_as(inputs[0], "int32")
    body = Body()
    kept = body.node("Mul", body.seen(op.longest), "due")
    body.node("ReduceSum", kept, body.number([1], "int64"), output="y", keepdims=0)
    function = body.function(
        f"Delay{op.longest}", ["x", "past", "due"], ["y", "past'"], "y(t) = x(t - d), d where due is 1."
    )
    steps = x.aligned(op.steps)
    due = np.stack([steps == age for age in range(op.longest + 1)]).astype(np.int32)
    call = Call(
        function,
        (f"{writer.at}/past",),
        (writer.constant(due, "due"),),
        {},
        "int32",
        (remembered(op.longest, x.shape, x.order),),
    )
    return (Tensor(writer.advance(call, x), outputs[0], x.order, "int32"),)
