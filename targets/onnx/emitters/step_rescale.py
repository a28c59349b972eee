"""Integers brought to another unit, by constants of their own for each time step."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.step_rescale import StepRescale
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body
from spikeloom.targets.onnx.writer import Call, Tensor, Writer


@emits(StepRescale)
def step_rescale(writer: Writer, op: StepRescale, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function that looks up the constants of the step, and counts it."""
    x = writer.held_as(inputs[0], "int32")
    body = Body()
    factor, offset = (body.node("Gather", name, "step", axis=0) for name in ("factors", "offsets"))
    total = body.node("Add", body.node("Mul", body.cast("x", "float64"), factor), "half")
    moved = body.node("Add", body.node("Floor", total), offset)
    body.cast(body.node("Clip", moved, "least", "most"), "int32", output="y")
    body.node("Min", body.node("Add", "step", body.number(1, "int32")), "last", output="step'")
    function = body.function(
        "StepRescale",
        ["x", "step", "factors", "offsets", "half", "least", "most", "last"],
        ["y", "step'"],
        "y = clip(floor(x factors[step] + half) + offsets[step]) ; step = min(step + 1, last).",
    )
    unit = 2.0**op.shift
    constants = (
        (_each_step(op.factor, x) / unit, "factors"),
        (_each_step(op.offset, x).astype(np.float64), "offsets"),
        (np.array(op.half / unit), "half"),
        (np.array(float(op.lo)), "least"),
        (np.array(float(op.hi)), "most"),
        (np.array(len(op.factor) - 1, np.int32), "last"),
    )
    names = tuple(writer.constant(value, hint) for value, hint in constants)
    call = Call(function, (f"{writer.at}/step",), names, {}, "int32", (((), ()),))
    return (Tensor(writer.advance(call, x), outputs[0], x.order, "int32"),)


def _each_step(constants: Array, x: Tensor) -> Array:
    """Constants [steps, ...] that broadcast against the graph's shape, against memory instead."""
    return np.stack([x.aligned(constant) for constant in constants])
