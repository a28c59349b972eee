"""Product of two values."""

from __future__ import annotations

from spikeloom.compiler.graph.kinds import Kind
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.layout import Order, plain
from spikeloom.targets.onnx.product import pairs_saturate, wide_type
from spikeloom.targets.onnx.writer import DataType, Tensor, Writer


@emits(MatMul)
def matmul(writer: Writer, op: MatMul, inputs: Tensors, outputs: Types) -> Tensors:
    """``MatMulInteger`` where one operand fits uint8 and the other int8, else a wide ``MatMul``.

    If only the second operand fits uint8, the transposed product is computed: b' a' = (a b)'.
    """
    a, b = inputs
    straight = plain(len(a.order))
    crossed = (*straight[:-2], straight[-1], straight[-2])
    for left, right, order in ((a, b, straight), (b, a, crossed)):
        if _bytes_suffice(left.type.kind, right.type.kind):
            name = _product(writer, "MatMulInteger", (left, "uint8"), (right, "int8"), order)
            return (Tensor(name, outputs[0], order, "int32"),)
    largest_a, largest_b = (max(-x.type.kind.bounds[0], x.type.kind.bounds[1]) for x in inputs)
    wide = wide_type(a.type.shape[-1] * largest_a * largest_b, largest_a, largest_b)
    name = _product(writer, "MatMul", (a, wide), (b, wide), straight)
    return (writer.held_as(Tensor(name, outputs[0], straight, wide), "int32"),)


def _bytes_suffice(left: Kind, right: Kind) -> bool:
    (low, high), (least, most) = left.bounds, right.bounds
    fits = low >= 0 and high <= 255 and least >= -128 and most <= 127
    return fits and not pairs_saturate(high, least, most)


def _product(
    writer: Writer, kind: str, left: tuple[Tensor, DataType], right: tuple[Tensor, DataType], order: Order
) -> str:
    operands = (writer.arranged(writer.held_as(x, dtype), order).name for x, dtype in (left, right))
    return writer.node(kind, *operands, hint="product")
