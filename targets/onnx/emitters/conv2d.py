"""Convolution over two axes."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.targets.onnx.convolution import convolve
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import Writer


@emits(Conv2d)
def conv2d(writer: Writer, op: Conv2d, inputs: Tensors, outputs: Types) -> Tensors:
    """One product with the columns of the input; with a kernel of 1, with the input itself."""
    return (convolve(writer, op, inputs[0], outputs[0]),)
