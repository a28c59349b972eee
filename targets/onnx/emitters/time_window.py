"""The last few values side by side."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.function import Body, remembered
from spikeloom.targets.onnx.layout import arrange
from spikeloom.targets.onnx.writer import Call, Tensor, Writer


@emits(TimeWindow)
def time_window(writer: Writer, op: TimeWindow, inputs: Tensors, outputs: Types) -> Tensors:
    """A call of a local function that takes the taps from what is remembered."""
    x = writer.held_as(inputs[0], "int32")
    place = x.place(op.axis)
    body = Body()
    seen = body.seen(op.longest)
    taps = [
        body.node("Gather", seen, body.number(tap * op.dilation, "int64"), axis=1)
        for tap in reversed(range(op.size))
    ]
    body.node("Concat", *taps, output="y", axis=place)
    function = body.function(
        f"TimeWindow{op.size}by{op.dilation}_axis{place}",
        ["x", "past"],
        ["y", "past'"],
        "y(t) = the last values of x, the oldest first.",
    )
    layouts = (remembered(op.longest, x.shape, x.order),)
    shape = arrange(outputs[0].shape, x.order)
    call = Call(function, (f"{writer.at}/past",), (), {}, "int32", layouts, shape)
    return (Tensor(writer.advance(call, x), outputs[0], x.order, "int32"),)
