"""A memory that fades by what the data say."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.ops.gated_state import GatedState
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body
from spikeloom.targets.onnx.writer import Call, Tensor, Writer


@emits(GatedState)
def gated_state(writer: Writer, op: GatedState, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function on gates and values side by side, in float64, which holds every product."""
    gate = writer.held_as(inputs[0], "int32")
    x = writer.held_as(writer.arranged(inputs[1], gate.order), "int32")
    axis = writer.integers((1,), "axis")
    pair = writer.concat([writer.node("Unsqueeze", y.name, axis, hint="one") for y in (gate, x)], 1)
    order = (0, *(1 + place for place in gate.order))
    both = Tensor(pair, Type((2, *outputs[0].shape), outputs[0].kind), order, "int32")
    body = Body()
    gates, values = (body.node("Gather", "x", body.number(index, "int64"), axis=1) for index in (0, 1))
    product = body.node("Mul", body.cast(gates, "float64"), body.cast("m", "float64"))
    kept = body.node("Floor", body.node("Add", body.node("Mul", product, "unit"), "half"))
    total = body.node("Clip", body.node("Add", kept, body.cast(values, "float64")), "least", "most")
    body.cast(total, "int32", output="y")
    body.node("Identity", "y", output="m'")
    function = body.function(
        "GatedState",
        ["x", "m", "unit", "half", "least", "most"],
        ["y", "m'"],
        "m = clip(floor(gate m unit + half) + value).",
    )
    unit = 2.0**-op.shift
    constants = (
        (unit, "unit"),
        (op.half * unit, "half"),
        (-float(op.limit), "least"),
        (float(op.limit), "most"),
    )
    names = tuple(writer.constant(np.array(value), hint) for value, hint in constants)
    layouts = ((gate.shape, gate.order),)
    call = Call(function, (f"{writer.at}/m",), names, {}, "int32", layouts, gate.shape)
    return (Tensor(writer.advance(call, both), outputs[0], gate.order, "int32"),)
