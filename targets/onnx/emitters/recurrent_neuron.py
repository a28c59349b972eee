"""Spikes that come back."""

from __future__ import annotations

import numpy as np
import onnx

from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron, is_dense
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body, remembered
from spikeloom.targets.onnx.writer import Call, Tensor, Writer

LARGEST = 2**31 - 1


@emits(RecurrentNeuron)
def recurrent_neuron(writer: Writer, op: RecurrentNeuron, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function; float64 holds every sum and every product, and a cast drops fractions."""
    x = writer.held_as(inputs[0], "int32")
    layouts = dict.fromkeys(_states(op), (x.shape, x.order))
    if op.wait > 1:
        layouts["earlier"] = remembered(op.wait - 1, x.shape, x.order)
    call = Call(
        _function(op, is_dense(op.weight, len(x.shape))),
        tuple(f"{writer.at}/{state}" for state in layouts),
        tuple(writer.constant(value, hint) for hint, value in _constants(op, x).items()),
        {},
        "uint8",
        tuple(layouts.values()),
    )
    return (Tensor(writer.advance(call, x), outputs[0], x.order, "uint8"),)


def _states(op: RecurrentNeuron) -> list[str]:
    return ["s", "v", *(["u"] if op.current_decay is not None else []), *(["earlier"] if op.wait > 1 else [])]


def _constants(op: RecurrentNeuron, x: Tensor) -> dict[str, Array]:
    keeps = [DECAY_ONE - decay for decay in (op.decay, op.current_decay or 0)]
    dense = is_dense(op.weight, len(x.shape))
    constants: dict[str, Array] = {
        "weight": op.weight.T.astype(np.float64) if dense else x.aligned(op.weight).astype(np.float64),
        "unit": np.array(1 << op.fraction_bits, np.int32),
        "share": np.array(keeps[0] / DECAY_ONE),
        "current_share": np.array(keeps[1] / DECAY_ONE),
        "bias": x.aligned(op.bias).astype(np.int32),
        "theta": x.aligned(np.minimum(op.theta[0], LARGEST)).astype(np.int32),
    }
    if op.reset_by is not None:
        constants["reset_by"] = x.aligned(np.minimum(op.reset_by, LARGEST)).astype(np.int32)
    return constants


def _function(op: RecurrentNeuron, dense: bool) -> onnx.FunctionProto:
    body, soft = Body(), op.reset_by is not None
    returned = _returned(body, op.wait)
    product = body.node("MatMul" if dense else "Mul", body.cast(returned, "float64"), "weight")
    u = body.node("Mul", body.node("Add", "x", body.cast(product, "int32")), "unit")
    if op.current_decay is not None:
        u = body.node("Add", _left(body, "u", "current_share"), u, output="u'")
    v = body.node("Add", body.node("Add", _left(body, "v", "share"), u), "bias")
    over = body.node("Greater", v, "theta")
    body.cast(over, "uint8", output="y")
    fired = body.cast(over, "int32", output="s'")
    if soft:
        body.node("Sub", v, body.node("Mul", fired, "reset_by"), output="v'")
    else:
        body.node("Where", over, body.number(0, "int32"), v, output="v'")
    states = _states(op)
    parts = ["Recurrent" if dense else "Looped", "LIF" if op.current_decay is None else "CubaLIF"]
    late = f"_wait{op.wait}" if op.wait > 1 else ""
    return body.function(
        "".join(parts) + "_soft" * soft + late,
        ["x", *states, "weight", "unit", "share", "current_share", "bias", "theta", *["reset_by"] * soft],
        ["y", *(f"{state}'" for state in states)],
        "y = spikes of a LIF that is driven by x and by its own spikes of an earlier step.",
    )


def _returned(body: Body, wait: int) -> str:
    """The spikes that come back now; those on their way move on by a step."""
    if wait == 1:
        return "s"
    axis = body.number([1], "int64")
    waiting = body.node("Concat", body.node("Unsqueeze", "s", axis), "earlier", axis=1)
    start, last, stop = (body.number([value], "int64") for value in (0, wait - 1, wait))
    body.node("Slice", waiting, start, last, axis, output="earlier'")
    return body.node("Squeeze", body.node("Slice", waiting, last, stop, axis), axis)


def _left(body: Body, state: str, share: str) -> str:
    return body.cast(body.node("Mul", body.cast(state, "float64"), share), "int32")
