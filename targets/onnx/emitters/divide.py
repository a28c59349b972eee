"""A value divided by another."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.divide import Divide
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(Divide)
def divide(writer: Writer, op: Divide, inputs: Tensors, outputs: Types) -> Tensors:
    """In float64: the floor of a quotient of integers below 2**52 is exact."""
    a = inputs[0]
    numerator, divisor = (writer.held_as(writer.arranged(x, a.order), "float64").name for x in (a, inputs[1]))
    one, half = (writer.constant(np.array(number), "number") for number in (1.0, 0.5))
    divisor = writer.node("Max", divisor, one, hint="divisor")
    if op.shift:
        factor = writer.constant(np.array(2.0**op.shift), "shift")
        numerator = writer.node("Mul", numerator, factor, hint="shifted")
    raised = writer.node("Floor", writer.node("Mul", divisor, half, hint="half"), hint="half")
    numerator = writer.node("Add", numerator, raised, hint="raised")
    whole = writer.node("Floor", writer.node("Div", numerator, divisor, hint="quotient"), hint="whole")
    ends = (writer.constant(np.array(float(end)), "end") for end in (-op.limit, op.limit))
    name = writer.cast(writer.node("Clip", whole, *ends, hint="clipped"), "int32")
    return (Tensor(name, outputs[0], a.order, "int32"),)
