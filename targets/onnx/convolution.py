"""Convolutions of one and two axes as a product: columns of the input times the weights.

Channels lie last. Cut into columns one axis after the other, a 3 x 3 window takes six slices
instead of nine. (ONNX's ``ConvInteger`` with signed weights is slower than a float convolution by
a factor of five in ONNX Runtime, which has no fast kernel for it.)
"""

from __future__ import annotations

from math import prod

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array
from spikeloom.targets.onnx.columns import pad, taps
from spikeloom.targets.onnx.product import Encoding
from spikeloom.targets.onnx.writer import Tensor, Writer


def convolve(writer: Writer, op: Convolution, x: Tensor, result: Type) -> Tensor:
    """Write a convolution; the result has its channels last."""
    encoding = Encoding.choose(x.type.kind, op.weight)
    channels_last = (*range(1, op.axes + 1), 0)
    held = writer.arranged(encoding.encode(writer, x), channels_last)
    columns = _columns(writer, op, held, encoding)
    weight = _by_group(op)
    if op.groups == 1:
        name = encoding.multiply(writer, columns, weight[0], op.bias)
    else:
        name = _grouped(writer, op, columns, weight, encoding, result.shape[1:])
    return Tensor(name, result, channels_last, "int32")


def _columns(writer: Writer, op: Convolution, x: Tensor, encoding: Encoding) -> str:
    """[batch, *positions, taps * channels], the taps in row-major order."""
    last = op.axes + 1
    widths = {1 + axis: width for axis, width in enumerate(op.padding)}
    name = pad(writer, x.name, widths, last + 1, encoding.zero, encoding.dtype)
    name = encoding.separate(writer, name, last)
    for axis in reversed(range(op.axes)):
        size = x.shape[axis] + 2 * op.padding[axis]
        seen = taps(writer, name, 1 + axis, size, op.kernel[axis], op.stride[axis], op.dilation[axis])
        name = writer.concat(seen, last, hint="columns")
    return name


def _by_group(op: Convolution) -> Array:
    """The weights as [groups, taps, channels / groups, outputs / groups]."""
    outputs, channels = op.weight.shape[:2]
    grouped = op.weight.reshape(op.groups, outputs // op.groups, channels, prod(op.kernel))
    return grouped.transpose(0, 3, 2, 1)


def _grouped(
    writer: Writer,
    op: Convolution,
    columns: str,
    weight: Array,
    encoding: Encoding,
    positions: tuple[int, ...],
) -> str:
    """One product per group: the groups become an axis in front, and go back."""
    groups, kernel, channels, outputs = weight.shape
    parts = kernel * (2 if encoding.split else 1)
    name = writer.reshape(columns, (prod(positions), parts, groups, channels))
    name = writer.transpose(name, (0, 3, 1, 2, 4))
    name = writer.reshape(name, (groups, prod(positions), parts * channels))
    bias = None if op.bias is None else op.bias.reshape(groups, outputs)
    name = encoding.multiply(writer, name, weight, bias)
    name = writer.transpose(name, (0, 2, 1, 3))
    return writer.reshape(name, (*positions, groups * outputs))
