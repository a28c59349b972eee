"""A larger picture: every pixel repeated."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.upsample2d import Upsample2d
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(Upsample2d)
def upsample2d(writer: Writer, op: Upsample2d, inputs: Tensors, outputs: Types) -> Tensors:
    """``Gather`` of each row and column as often as it is repeated; ``Resize`` takes no int32."""
    (x,) = inputs
    name = x.name
    for axis, size, factor in zip((1, 2), x.type.shape[1:], op.scale, strict=True):
        if factor > 1:
            indices = writer.constant(np.arange(size).repeat(factor), "indices")
            name = writer.node("Gather", name, indices, hint="repeated", axis=x.place(axis))
    return (Tensor(name, outputs[0], x.order, x.dtype),)
