"""The spiking neuron."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.neuron_function import Variation
from spikeloom.targets.onnx.writer import Call, Tensor, Writer


@emits(IntegerNeuron)
def integer_neuron(writer: Writer, op: IntegerNeuron, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function, such as ``spikeloom.LIF``."""
    x = writer.held_as(inputs[0], "int32")
    variation = Variation.of(op, x.type)
    named = [(f"theta{level}", theta) for level, theta in enumerate(op.theta, 1)]
    named += [("bias", op.bias)] + ([] if op.reset_by is None else [("reset_by", op.reset_by)])
    call = Call(
        variation.function(),
        tuple(f"{writer.at}/{state}" for state in variation.states),
        tuple(writer.constant(_aligned(value, x), hint) for hint, value in named),
        variation.attributes(op),
    )
    return (Tensor(writer.advance(call, x), outputs[0], x.order, "uint8"),)


def _aligned(parameter: Array, x: Tensor) -> Array:
    """A parameter that broadcasts against the graph's shape, to broadcast against memory instead.

    A threshold above int32 is never passed, and neither is the largest int32.
    """
    within = np.clip(parameter, -(2**31), 2**31 - 1).astype(np.int32)
    return within.reshape((1,) * (len(x.order) - within.ndim) + within.shape).transpose(x.order)
