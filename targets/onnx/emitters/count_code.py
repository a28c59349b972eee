"""Spike counts of numbers."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.count_code import CountCode
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(CountCode)
def count_code(writer: Writer, op: CountCode, inputs: Tensors, outputs: Types) -> Tensors:
    """In float64; ``Round`` sends halves to the even neighbour."""
    x = inputs[0]
    number, threshold = (writer.held_as(writer.arranged(y, x.order), "float64").name for y in (x, inputs[1]))
    one = writer.constant(np.array(1.0), "number")
    threshold = writer.node("Max", threshold, one, hint="threshold")
    if op.shift:
        factor = writer.constant(np.array(2.0**op.shift), "shift")
        number = writer.node("Mul", number, factor, hint="shifted")
    whole = writer.node("Round", writer.node("Div", number, threshold, hint="quotient"), hint="whole")
    ends = (writer.constant(np.array(float(end)), "end") for end in (-op.levels, op.levels))
    name = writer.cast(writer.node("Clip", whole, *ends, hint="clipped"), "int32")
    return (Tensor(name, outputs[0], x.order, "int32"),)
