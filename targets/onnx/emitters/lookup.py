"""A function of single integers, as a table."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.lookup import Lookup
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(Lookup)
def lookup(writer: Writer, op: Lookup, inputs: Tensors, outputs: Types) -> Tensors:
    """``Gather`` at what was clipped to the table."""
    x = writer.held_as(inputs[0], "int32")
    first, zero, last = (
        writer.constant(np.array(number, np.int32), "end") for number in (op.lo, 0, len(op.table) - 1)
    )
    place = writer.node("Clip", writer.node("Sub", x.name, first, hint="from"), zero, last, hint="place")
    table = writer.constant(op.table.astype(np.int32), "table")
    return (Tensor(writer.node("Gather", table, place, hint="found", axis=0), outputs[0], x.order, "int32"),)
