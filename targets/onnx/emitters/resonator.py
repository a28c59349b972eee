"""Resonate-and-fire neurons."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.ops.resonator import DECAY_ONE, STATE_LIMIT, Resonator
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body
from spikeloom.targets.onnx.writer import Call, Tensor, Writer


@emits(Resonator)
def resonator(writer: Writer, op: Resonator, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function on both inputs side by side; float64 holds every product."""
    x = writer.held_as(inputs[0], "int32")
    y = writer.held_as(writer.arranged(inputs[1], x.order), "int32")
    axis = writer.integers((1,), "axis")
    pair = writer.concat([writer.node("Unsqueeze", one.name, axis, hint="one") for one in (x, y)], 1)
    order = (0, *(1 + place for place in x.order))
    both = Tensor(pair, Type((2, *outputs[0].shape), x.type.kind), order, "int32")
    body = Body()
    first, second = (body.node("Gather", "x", body.number(index, "int64"), axis=1) for index in (0, 1))
    real = _moved(body, body.node("Sub", _part(body, "real", "cosine"), _part(body, "imag", "sine")), first)
    imag = _moved(body, body.node("Add", _part(body, "real", "sine"), _part(body, "imag", "cosine")), second)
    zero = body.number(0, "int32")
    if op.by_phase:
        reaches = body.node("GreaterOrEqual", real, "threshold")
        turns = body.node("And", body.node("GreaterOrEqual", imag, zero), body.node("Less", "imag", zero))
        fires = body.node("And", reaches, turns)
        body.node("Identity", real, output="real'")
        body.node("Identity", imag, output="imag'")
    else:
        fires = body.node("GreaterOrEqual", imag, "threshold")
        body.node("Where", fires, zero, real, output="real'")
        body.node(
            "Where", fires, body.node("Sub", "threshold", body.number(1, "int32")), imag, output="imag'"
        )
    body.cast(fires, "uint8", output="y")
    function = body.function(
        "PhaseResonator" if op.by_phase else "Resonator",
        ["x", "real", "imag", "cosine", "sine", "unit", "threshold"],
        ["y", "real'", "imag'"],
        "real, imag = a state that turns and fades, and what x adds ; y = spikes.",
    )
    constants = (
        (np.array(op.cosine / DECAY_ONE), "cosine"),
        (np.array(op.sine / DECAY_ONE), "sine"),
        (np.array(1 << op.fraction_bits, np.int32), "unit"),
        (np.array(op.threshold, np.int32), "threshold"),
    )
    names = tuple(writer.constant(value, hint) for value, hint in constants)
    states = (f"{writer.at}/real", f"{writer.at}/imag")
    layouts = ((x.shape, x.order),) * 2
    call = Call(function, states, names, {}, "uint8", layouts, x.shape)
    return (Tensor(writer.advance(call, both), outputs[0], x.order, "uint8"),)


def _part(body: Body, state: str, share: str) -> str:
    return body.cast(body.node("Mul", body.cast(state, "float64"), share), "int32")


def _moved(body: Body, turned: str, added: str) -> str:
    ends = (body.number(end, "int32") for end in (-STATE_LIMIT, STATE_LIMIT))
    return body.node("Clip", body.node("Add", turned, body.node("Mul", added, "unit")), *ends)
