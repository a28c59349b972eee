"""A stored row for each token."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.embedding import Embedding
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.layout import plain
from spikeloom.targets.onnx.writer import DataType, Tensor, Writer


@emits(Embedding)
def embedding(writer: Writer, op: Embedding, inputs: Tensors, outputs: Types) -> Tensors:
    """``Gather`` of rows; of bytes where they suffice, else of 16 bits, cast behind it where these do."""
    x = writer.held_as(writer.arranged(inputs[0], plain(len(inputs[0].order))), "int32")
    low, high = outputs[0].kind.bounds
    dtype: DataType = "uint8" if low >= 0 and high <= 255 else "int32"
    narrow = dtype == "int32" and op.weight.dtype == np.int16
    table = writer.constant(op.weight if narrow else op.weight.astype(np.dtype(dtype)), "rows")
    name = writer.node("Gather", table, x.name, hint="row", axis=0)
    if narrow:
        name = writer.cast(name, dtype)
    return (Tensor(name, outputs[0], plain(len(outputs[0].shape)), dtype),)
