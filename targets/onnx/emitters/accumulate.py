"""Sum over time."""

from __future__ import annotations

from onnx import helper

from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import OPSET, OWN_DOMAIN, Call, Tensor, Writer


@emits(Accumulate)
def accumulate(writer: Writer, op: Accumulate, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function that adds and keeps the sum."""
    x = writer.held_as(inputs[0], "int32")
    function = helper.make_function(
        OWN_DOMAIN,
        "Accumulate",
        ["x", "total"],
        ["y", "total'"],
        [
            helper.make_node("Add", ["x", "total"], ["y"]),
            helper.make_node("Identity", ["y"], ["total'"]),
        ],
        [helper.make_opsetid("", OPSET)],
        doc_string="total = total + x.",
    )
    call = Call(function, (f"{writer.at}/total",), (), {}, "int32")
    return (Tensor(writer.advance(call, x), outputs[0], x.order, "int32"),)
