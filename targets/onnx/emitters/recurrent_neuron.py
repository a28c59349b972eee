"""Spikes that come back."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body
from spikeloom.targets.onnx.writer import Call, Tensor, Writer


@emits(RecurrentNeuron)
def recurrent_neuron(writer: Writer, op: RecurrentNeuron, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function; float64 holds every sum and every product, and a cast drops fractions."""
    x = writer.held_as(inputs[0], "int32")
    body = Body()
    back = body.cast(body.node("MatMul", body.cast("s", "float64"), "weight"), "int32")
    u = body.node("Mul", body.node("Add", "x", back), "unit")
    states = ["s", "v"] if op.current_decay is None else ["s", "v", "u"]
    if op.current_decay is not None:
        u = body.node("Add", _left(body, "u", "current_share"), u, output="u'")
    v = body.node("Add", body.node("Add", _left(body, "v", "share"), u), "bias")
    over = body.node("Greater", v, "theta")
    body.cast(over, "uint8", output="y")
    body.cast(over, "int32", output="s'")
    body.node("Where", over, body.number(0, "int32"), v, output="v'")
    function = body.function(
        "RecurrentLIF" if op.current_decay is None else "RecurrentCubaLIF",
        ["x", *states, "weight", "unit", "share", "current_share", "bias", "theta"],
        ["y", *(f"{state}'" for state in states)],
        "y = spikes of a LIF that is driven by x and by its own spikes of the step before.",
    )
    keeps = [DECAY_ONE - decay for decay in (op.decay, op.current_decay or 0)]
    constants = (
        (op.weight.T.astype(np.float64), "weight"),
        (np.array(1 << op.fraction_bits, np.int32), "unit"),
        (np.array(keeps[0] / DECAY_ONE), "share"),
        (np.array(keeps[1] / DECAY_ONE), "current_share"),
        (x.aligned(op.bias).astype(np.int32), "bias"),
        (x.aligned(np.minimum(op.theta[0], 2**31 - 1)).astype(np.int32), "theta"),
    )
    names = tuple(writer.constant(value, hint) for value, hint in constants)
    call = Call(function, tuple(f"{writer.at}/{state}" for state in states), names, {}, "uint8")
    return (Tensor(writer.advance(call, x), outputs[0], x.order, "uint8"),)


def _left(body: Body, state: str, share: str) -> str:
    return body.cast(body.node("Mul", body.cast(state, "float64"), share), "int32")
