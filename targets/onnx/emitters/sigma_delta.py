"""Messages of change."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.sigma_delta import STATE_LIMIT, WRAP, SigmaDelta
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body
from spikeloom.targets.onnx.writer import Call, Tensor, Writer


@emits(SigmaDelta)
def sigma_delta(writer: Writer, op: SigmaDelta, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function in int32; the shift of a message is a division in float64, rounded down."""
    x = writer.held_as(inputs[0], "int32")
    body = Body()
    wraps = max(map(abs, inputs[0].type.kind.bounds)) >= WRAP // 2
    value = body.node("Mul", _wrapped(body) if wraps else "x", "unit")
    if op.integrates:
        ends = (body.number(end, "int32") for end in (-STATE_LIMIT, STATE_LIMIT))
        value = body.node("Clip", body.node("Add", "sigma", value), *ends, output="sigma'")
    active = body.node("Add", value, "bias")
    if op.rectifies:
        active = body.node("Max", active, body.number(0, "int32"))
    change = body.node("Sub", active, "sent")
    large = body.node("GreaterOrEqual", body.node("Abs", change), "threshold")
    message = body.node("Where", large, change, body.number(0, "int32"))
    body.node("Add", "sent", message, output="sent'")
    shifted = body.node("Floor", body.node("Mul", body.cast(message, "float64"), "share"))
    body.node("Clip", body.cast(shifted, "int32"), "least", "most", output="y")
    states = ["sigma", "sent"] if op.integrates else ["sent"]
    form = "".join(("Wrapped" * wraps, "Sigma" * op.integrates, "Delta", "Relu" * op.rectifies))
    function = body.function(
        form,
        ["x", *states, "unit", "bias", "threshold", "share", "least", "most"],
        ["y", *(f"{state}'" for state in states)],
        "y = what the activation changed since it was sent, where that reaches the threshold.",
    )
    constants = (
        (np.array(1 << op.input_shift, np.int32), "unit"),
        (x.aligned(op.bias).astype(np.int32), "bias"),
        (np.array(op.threshold, np.int32), "threshold"),
        (np.array(2.0**-op.output_shift), "share"),
        (np.array(-op.limit, np.int32), "least"),
        (np.array(op.limit, np.int32), "most"),
    )
    names = tuple(writer.constant(value, hint) for value, hint in constants)
    call = Call(function, tuple(f"{writer.at}/{state}" for state in states), names, {}, "int32")
    return (Tensor(writer.advance(call, x), outputs[0], x.order, "int32"),)


def _wrapped(body: Body) -> str:
    half, whole = (body.number(number, "int32") for number in (WRAP // 2, WRAP))
    return body.node("Sub", body.node("Mod", body.node("Add", "x", half), whole), half)
