"""A border of one number."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.layout import arrange
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(Pad)
def pad(writer: Writer, op: Pad, inputs: Tensors, outputs: Types) -> Tensors:
    """``Pad`` in the type of the value, if that holds the border too."""
    (x,) = inputs
    value = int(op.value)
    held = x if x.dtype == "int32" or 0 <= value <= 255 else writer.held_as(x, "int32")
    widths = [0, *arrange(op.before, x.order), 0, *arrange(op.after, x.order)]
    fill = writer.constant(np.array(value, held.dtype), "fill")
    name = writer.node("Pad", held.name, writer.integers(widths, "pads"), fill, hint="padded")
    return (Tensor(name, outputs[0], x.order, held.dtype),)
