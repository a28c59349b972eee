"""Sliding windows in standard operators: for each tap of a window one strided slice."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.arithmetic import convolution_size
from spikeloom.targets.onnx.writer import Writer


def pad(writer: Writer, name: str, places: dict[int, int], rank: int, fill: int, dtype: str) -> str:
    """Pad both ends of each axis of ONNX in ``places`` by its width; ``rank`` counts the batch."""
    widths = [places.get(axis, 0) for axis in range(rank)]
    if not any(widths):
        return name
    value = writer.constant(np.array(fill, dtype), "fill")
    return writer.node("Pad", name, writer.integers(widths * 2, "pads"), value, hint="padded")


def taps(
    writer: Writer, name: str, axis: int, size: int, kernel: int, stride: int, dilation: int = 1
) -> list[str]:
    """For each tap of a window along one axis of ONNX, what it sees at every position.

    ``size`` is the length of the axis, padding included.
    """
    count = convolution_size(size, kernel, stride, 0, dilation)
    starts = [tap * dilation for tap in range(kernel)]
    if kernel == 1 and count == size:
        return [name]
    return [writer.slice(name, {axis: (start, start + (count - 1) * stride + 1, stride)}) for start in starts]
