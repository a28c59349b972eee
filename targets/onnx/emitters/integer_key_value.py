"""The recurrence of RWKV."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.ops.integer_key_value import SHARE_BITS, WEIGHT_LIMIT, IntegerKeyValue
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body
from spikeloom.targets.onnx.writer import Call, Tensor, Writer


@emits(IntegerKeyValue)
def integer_key_value(writer: Writer, op: IntegerKeyValue, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function on keys and values side by side, which it takes apart."""
    k = writer.held_as(inputs[0], "int32")
    v = writer.held_as(writer.arranged(inputs[1], k.order), "int32")
    axis = writer.integers((1,), "axis")
    pair = writer.concat([writer.node("Unsqueeze", x.name, axis, hint="one") for x in (k, v)], 1)
    order = (0, *(1 + place for place in k.order))
    both = Tensor(pair, Type((2, *outputs[0].shape), outputs[0].kind), order, "int32")
    body = Body()
    keys, values = (body.node("Gather", "x", body.number(index, "int64"), axis=1) for index in (0, 1))
    faded = body.node("Add", "l", "decay")
    d = body.node("Sub", keys, faded)
    seen = _moved(body, values, body.node("Sub", body.node("Add", keys, "bonus"), "l"))
    body.node("Identity", seen, output="y")
    body.node("Identity", _moved(body, values, d), output="m'")
    apart = body.node("Min", body.node("Abs", d), "reach")
    grown = body.node("Add", body.node("Max", faded, keys), body.node("Gather", "growth", apart, axis=0))
    least, most = (body.number(end, "int32") for end in (-WEIGHT_LIMIT, WEIGHT_LIMIT))
    body.node("Clip", grown, least, most, output="l'")
    function = body.function(
        "KeyValue",
        ["x", "m", "l", "decay", "bonus", "share", "growth", "reach", "minus"],
        ["y", "m'", "l'"],
        "y, m = means of values weighted by the shares of keys ; l = logarithm of the weight.",
    )
    constants = (
        (k.aligned(op.decay), "decay"),
        (k.aligned(op.bonus), "bonus"),
        (op.share, "share"),
        (op.growth, "growth"),
        (np.array(op.reach), "reach"),
        (np.array(-op.reach), "minus"),
    )
    names = tuple(writer.constant(value.astype(np.int32), hint) for value, hint in constants)
    states = (f"{writer.at}/m", f"{writer.at}/l")
    layouts = ((k.shape, k.order),) * 2
    call = Call(function, states, names, {}, "int32", layouts, k.shape)
    return (Tensor(writer.advance(call, both), outputs[0], k.order, "int32"),)


def _place(body: Body, d: str) -> str:
    return body.node("Add", body.node("Clip", d, "minus", "reach"), "reach")


def _moved(body: Body, values: str, d: str) -> str:
    """M + floor((v - m) share / 2**SHARE_BITS + 1/2), in float64, which holds every product."""
    share = body.cast(body.node("Gather", "share", _place(body, d), axis=0), "float64")
    apart = body.cast(body.node("Sub", values, "m"), "float64")
    scaled = body.node("Mul", body.node("Mul", apart, share), body.number(2.0**-SHARE_BITS, "float64"))
    moved = body.node("Floor", body.node("Add", scaled, body.number(0.5, "float64")))
    return body.node("Add", "m", body.cast(moved, "int32"))
