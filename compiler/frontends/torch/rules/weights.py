"""Layers with stored weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from spikeloom.compiler.frontends.torch.axes import OWN, Lead, NoCounterpartError
from spikeloom.compiler.frontends.torch.lowering import Lowering
from spikeloom.compiler.frontends.torch.operands import Operand, Value
from spikeloom.compiler.frontends.torch.rule import Call, rule
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.batch_norm import BatchNorm
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.embedding import Embedding
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.time_window import TimeWindow


def _per_axis(value: Any, axes: int) -> tuple[int, ...]:
    values = [value] if isinstance(value, int) else list(value)
    return tuple(values * axes if len(values) == 1 else values)


@rule("conv1d", "conv2d", any_layout=True)
def convolution(lower: Lowering, call: Call) -> Operand:
    """Convolutions with the batch folded into one axis; or along time."""
    weight = call.array("weight")
    assert weight is not None
    axes = weight.ndim - 2
    if call.value("input").tags == ("B", OWN, "T"):
        return along_time(lower, call, call.value("input"), weight)
    stride, padding, dilation = (
        _per_axis(call.arguments[n], axes) for n in ("stride", "padding", "dilation")
    )
    kind = Conv1d if axes == 1 else Conv2d
    op = kind(weight, call.array("bias"), stride, padding, dilation, call.arguments["groups"])
    return lower.emit(call, op, call.value("input"))[0]


def along_time(lower: Lowering, call: Call, x: Value, weight: Array) -> Value:
    """A convolution along time: a window of the last values, and a map.

    What is padded on the right makes it look ahead.
    """
    (stride,), (padding,), (dilation,) = (
        _per_axis(call.arguments[n], 1) for n in ("stride", "padding", "dilation")
    )
    before, after = (margin + padding for margin in x.margin)
    span = dilation * (weight.shape[2] - 1)
    beyond = before + after - span
    if stride != 1 or beyond < 0 or before > span:
        raise NoCounterpartError(
            f"along time it has stride {stride} and a window of {span + 1}, padded by {before} and {after}"
        )
    step = replace(x, lead=Lead.BATCH, spread=(), margin=(0, 0))
    (column,) = lower.emit(call, Reshape((*x.shape, 1)), step, lead=Lead.BATCH)
    if span:
        window = TimeWindow(weight.shape[2], 1, dilation, span - before, beyond)
        (column,) = lower.emit(call, window, column, lead=Lead.BATCH)
    op = Conv1d(weight, call.array("bias"), groups=call.arguments["groups"])
    (y,) = lower.emit(call, op, column, lead=Lead.BATCH)
    (flat,) = lower.emit(call, Reshape(y.shape[:1]), y, lead=Lead.BATCH)
    return replace(flat, lead=x.lead, spread=x.spread, overtime=x.overtime + beyond)


@rule("conv3d", any_layout=True)
def volume(lower: Lowering, call: Call) -> Operand:
    """A convolution over [B, channels, ...], two axes and one of time, that does not reach along time."""
    x, weight = call.value("input"), call.array("weight")
    assert weight is not None
    stride, padding, dilation = (_per_axis(call.arguments[n], 3) for n in ("stride", "padding", "dilation"))
    time = x.tags.index("T") - 2 if x.tags[:2] == ("B", OWN) and "T" in x.tags else -1
    if time < 0 or (weight.shape[2 + time], stride[time], padding[time]) != (1, 1, 0):
        raise NoCounterpartError("it convolves three axes")
    plane = [axis for axis in range(3) if axis != time]
    stride, padding, dilation = (tuple(each[axis] for axis in plane) for each in (stride, padding, dilation))
    flat = weight.squeeze(2 + time)
    op = Conv2d(flat, call.array("bias"), stride, padding, dilation, call.arguments["groups"])
    step = replace(x, lead=Lead.BATCH, spread=())
    (y,) = lower.emit(call, op, step, lead=Lead.BATCH)
    lower.volumes[y.name] = time
    return replace(y, lead=x.lead, spread=x.spread)


@rule("linear")
def linear(lower: Lowering, call: Call) -> Operand:
    """A linear map of the last axis."""
    weight = call.array("weight")
    assert weight is not None
    return lower.emit(call, Linear(weight, call.array("bias")), call.value("input"))[0]


@rule("batch_norm", any_layout=True)
def batch_norm(lower: Lowering, call: Call) -> Operand:
    """Batch normalisation with stored statistics."""
    if call.arguments["training"]:
        raise NoCounterpartError("it normalises by the statistics of the batch; call model.eval() first")
    stored = [call.array(name) for name in ("weight", "bias", "running_mean", "running_var")]
    if any(array is None for array in stored):
        raise NoCounterpartError("it has no gain, bias or stored statistics")
    gain, bias, mean, variance = (array for array in stored if array is not None)
    op = BatchNorm(gain, bias, mean, variance, float(call.arguments["eps"]))
    x = call.value("input")
    if not x.spread:
        return lower.emit(call, op, x)[0]
    if x.tags[:2] != ("B", OWN):
        raise NoCounterpartError("its channels are not axis 1")
    sizes = iter(x.shape)
    held = tuple(next(sizes) if tag == OWN else 1 for tag in x.tags[1:])
    step = replace(x, lead=Lead.BATCH, spread=())
    for one in (Reshape(held), op, Reshape(x.shape)):
        (step,) = lower.emit(call, one, step, lead=Lead.BATCH)
    return replace(step, lead=x.lead, spread=x.spread)


@rule("embedding")
def embedding(lower: Lowering, call: Call) -> Operand:
    """A stored row for each token."""
    weight = call.array("weight")
    assert weight is not None
    return lower.emit(call, Embedding(weight), call.value("indices"))[0]


@rule("ge.Scalar")
def at_least(lower: Lowering, call: Call) -> Operand:
    """Which stored rows have reached a number: a neuron without a memory right behind them."""
    x = call.value("self")
    producer = lower.producer(x)
    if not isinstance(producer.op, Embedding):
        raise NoCounterpartError("it compares a value that is no stored row")
    rows = (producer.op.weight >= np.float32(call.arguments["other"])).astype(np.float32)
    (token,) = producer.inputs
    return lower.emit(call, Embedding(rows), replace(x, name=token, shape=x.shape[:-1]), lead=x.lead)[0]
