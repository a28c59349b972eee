"""The ONNX target: a network as ``step.onnx`` and ``sequence.onnx``, in integer arithmetic.

What the two files hold, name by name, is told in :mod:`spikeloom.targets.onnx.model`. Importing
this package does not import onnx.
"""

from __future__ import annotations

from spikeloom.targets.onnx.target import OnnxTarget


def onnx() -> OnnxTarget:
    """The target, as the entry point ``spikeloom.targets`` offers it.

    >>> onnx().profile(8).fraction_bits
    6
    """
    return OnnxTarget()
