"""Cutting along an axis."""

from __future__ import annotations

from itertools import accumulate

from spikeloom.compiler.graph.ops.split import Split
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(Split)
def split(writer: Writer, op: Split, inputs: Tensors, outputs: Types) -> Tensors:
    """One ``Slice`` per piece."""
    (x,) = inputs
    ends = tuple(accumulate(op.sizes))
    pieces = zip(op.sizes, ends, outputs, strict=True)
    return tuple(
        Tensor(writer.slice(x.name, {x.place(op.axis): (end - size, end, 1)}), kind, x.order, x.dtype)
        for size, end, kind in pieces
    )
