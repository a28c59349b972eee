"""Normalisation of each row of integers."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.ops.integer_norm import IntegerNorm
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import Tensor, Writer


@emits(IntegerNorm)
def integer_norm(writer: Writer, op: IntegerNorm, inputs: Tensors, outputs: Types) -> Tensors:
    """In float64: sums, roots and quotients of integers below 2**52, and their floors, are exact."""
    x = writer.held_as(inputs[0], "float64")
    n = inputs[0].type.shape[-1]
    axis = writer.integers((x.place(len(x.order) - 1),), "axes")

    def node(kind: str, *operands: str | float, **attributes: int) -> str:
        names = [writer.constant(np.array(o), "number") if isinstance(o, float) else o for o in operands]
        return writer.node(kind, *names, hint=kind.lower(), **attributes)

    d = x.name
    if op.centred:
        total = node("ReduceSum", d, axis, keepdims=1)
        mean = node("Floor", node("Div", node("Add", total, float(n // 2)), float(n)))
        d = node("Sub", d, mean)
    squares = node("Add", node("ReduceSum", node("Mul", d, d), axis, keepdims=1), float(op.added))
    root = node("Floor", node("Sqrt", node("Mul", squares, float(1 << (2 * op.EXTRA)))))
    root = node("Max", root, 1.0)
    numerator = node("Add", node("Mul", d, float(op.gain(n))), node("Floor", node("Mul", root, 0.5)))
    limit = float(op.gain(n) // 2**op.EXTRA + 1)
    y = node("Clip", node("Floor", node("Div", numerator, root)), -limit, limit)
    return (Tensor(writer.cast(y, "int32"), outputs[0], x.order, "int32"),)
