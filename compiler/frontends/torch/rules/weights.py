"""Layers with stored weights."""

from __future__ import annotations

from typing import Any

from spikeloom.compiler.frontends.torch.lowering import Call, Lowering, NoCounterpartError, Operand, rule
from spikeloom.compiler.graph.ops.batch_norm import BatchNorm
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.linear import Linear


def _per_axis(value: Any, axes: int) -> tuple[int, ...]:
    values = [value] if isinstance(value, int) else list(value)
    return tuple(values * axes if len(values) == 1 else values)


@rule("conv1d", "conv2d")
def convolution(lower: Lowering, call: Call) -> Operand:
    """Convolutions with the batch folded into one axis."""
    weight = call.array("weight")
    assert weight is not None
    axes = weight.ndim - 2
    stride, padding, dilation = (
        _per_axis(call.arguments[n], axes) for n in ("stride", "padding", "dilation")
    )
    kind = Conv1d if axes == 1 else Conv2d
    op = kind(weight, call.array("bias"), stride, padding, dilation, call.arguments["groups"])
    return lower.emit(call, op, call.value("input"))[0]


@rule("linear")
def linear(lower: Lowering, call: Call) -> Operand:
    """A linear map of the last axis."""
    weight = call.array("weight")
    assert weight is not None
    return lower.emit(call, Linear(weight, call.array("bias")), call.value("input"))[0]


@rule("batch_norm")
def batch_norm(lower: Lowering, call: Call) -> Operand:
    """Batch normalisation with stored statistics."""
    if call.arguments["training"]:
        raise NoCounterpartError("it normalises by the statistics of the batch; call model.eval() first")
    stored = [call.array(name) for name in ("weight", "bias", "running_mean", "running_var")]
    if any(array is None for array in stored):
        raise NoCounterpartError("it has no gain, bias or stored statistics")
    gain, bias, mean, variance = (array for array in stored if array is not None)
    op = BatchNorm(gain, bias, mean, variance, float(call.arguments["eps"]))
    return lower.emit(call, op, call.value("input"))[0]
