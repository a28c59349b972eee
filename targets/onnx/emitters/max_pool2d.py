"""Largest value in a window."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.targets.onnx.columns import pad, taps
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(MaxPool2d)
def max_pool2d(writer: Writer, op: MaxPool2d, inputs: Tensors, outputs: Types) -> Tensors:
    """``Max`` over the taps of the window, one axis after the other.

    ONNX's ``MaxPool`` takes no int32. Padding holds the smallest number of the kind: it never wins.
    """
    (x,) = inputs
    lowest = x.type.kind.bounds[0]
    places = [x.place(axis) for axis in (1, 2)]
    widths = dict(zip(places, op.padding, strict=True))
    name = pad(writer, x.name, widths, 1 + len(x.order), lowest, x.dtype)
    for place, size, kernel, stride in zip(places, x.type.shape[1:], op.kernel, op.stride, strict=True):
        seen = taps(writer, name, place, size + 2 * widths[place], kernel, stride)
        name = seen[0] if len(seen) == 1 else writer.node("Max", *seen, hint="largest")
    return (Tensor(name, outputs[0], x.order, x.dtype),)
