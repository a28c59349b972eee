"""Convolution along one axis."""

from __future__ import annotations

from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.targets.onnx.convolution import convolve
from spikeloom.targets.onnx.emitters import Tensors, Types, emits
from spikeloom.targets.onnx.writer import Writer


@emits(Conv1d)
def conv1d(writer: Writer, op: Conv1d, inputs: Tensors, outputs: Types) -> Tensors:
    """One product with the columns of the input; with a kernel of 1, with the input itself."""
    return (convolve(writer, op, inputs[0], outputs[0]),)
