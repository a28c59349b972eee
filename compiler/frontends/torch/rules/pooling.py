"""Pooling, and its inverse."""

from __future__ import annotations

import math

from spikeloom.compiler.frontends.torch.axes import NoCounterpartError
from spikeloom.compiler.frontends.torch.lowering import Lowering
from spikeloom.compiler.frontends.torch.operands import Operand, Value
from spikeloom.compiler.frontends.torch.rule import Call, rule
from spikeloom.compiler.graph.ops.avg_pool2d import AvgPool2d
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.mean import Mean
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.graph.ops.upsample2d import Upsample2d

Pair = tuple[int, int]


@rule("max_pool2d", "max_pool3d", "max_pool1d")
def max_pool(lower: Lowering, call: Call) -> Operand:
    """The largest value in each window of the last two axes."""
    arguments = call.arguments
    if arguments["ceil_mode"] or set(arguments["dilation"]) != {1}:
        raise NoCounterpartError("it rounds up or is dilated")
    kernel = list(arguments["kernel_size"])
    stride = list(arguments["stride"]) or kernel
    x = call.value("self")
    rank = int(_name(call)[-2])
    window, step, padding = (
        _window(values, rank, neutral)
        for values, neutral in ((kernel, 1), (stride, 1), (arguments["padding"], 0))
    )
    return _planes(lower, call, MaxPool2d(window, step, padding), x)


@rule("amax", "max.dim")
def largest(lower: Lowering, call: Call) -> Operand:
    """The largest element along one of a sample's own axes, as of the points of a cloud."""
    x, dims = call.value("self"), call.arguments["dim"]
    dims = [dims] if isinstance(dims, int) else list(dims)
    if len(dims) != 1:
        raise NoCounterpartError(f"it works along {len(dims)} axes")
    axis = call.own_axis(dims[0], x)
    others = [place for place in range(len(x.shape)) if place != axis]
    rest = tuple(x.shape[place] for place in others)
    kept = tuple(1 if place == axis else n for place, n in enumerate(x.shape))
    if others[axis:]:
        (x,) = lower.emit(call, Transpose((*others, axis)), x, lead=x.lead)
    length = x.shape[-1]
    pool = MaxPool2d((1, length), (1, length), (0, 0))
    for op in (
        Reshape((1, math.prod(rest), length)),
        pool,
        Reshape(kept if call.arguments["keepdim"] else rest),
    ):
        (x,) = lower.emit(call, op, x, lead=x.lead)
    return (x,) if call.node.target._opname == "max" else x  # type: ignore[union-attr]


@rule("avg_pool2d")
def avg_pool2d(lower: Lowering, call: Call) -> Operand:
    """The mean of each window."""
    arguments = call.arguments
    if arguments["ceil_mode"] or arguments["divisor_override"] is not None:
        raise NoCounterpartError("it rounds up or has a divisor of its own")
    kernel = _pair(arguments["kernel_size"])
    stride = _pair(arguments["stride"] or kernel)
    op = AvgPool2d(kernel, stride, _pair(arguments["padding"]), arguments["count_include_pad"])
    return lower.emit(call, op, call.value("self"))[0]


@rule("adaptive_avg_pool2d")
def adaptive_avg_pool2d(lower: Lowering, call: Call) -> Operand:
    """The mean of windows that divide the picture evenly."""
    x = call.value("self")
    size, wanted = x.shape[-2:], _pair(call.arguments["output_size"])
    if any(have % want for have, want in zip(size, wanted, strict=True)):
        raise NoCounterpartError(f"its windows do not divide {list(size)} evenly into {list(wanted)}")
    if wanted == (1, 1):  # PyTorch takes a mean then, which sums in another order
        (mean,) = lower.emit(call, Mean((len(x.shape) - 2, len(x.shape) - 1)), x)
        return lower.emit(call, Reshape(call.shape), mean)[0]
    kernel = (size[0] // wanted[0], size[1] // wanted[1])
    return lower.emit(call, AvgPool2d(kernel, kernel, (0, 0), True), x)[0]


@rule("upsample_nearest2d.vec", "upsample_nearest2d")
def upsample_nearest2d(lower: Lowering, call: Call) -> Operand:
    """Each pixel repeated a whole number of times."""
    x = call.value(next(iter(call.arguments)))
    size = call.shape[-2:]
    if any(want % have for have, want in zip(x.shape[-2:], size, strict=True)):
        raise NoCounterpartError(f"it scales {list(x.shape[-2:])} to {list(size)}, no whole factor")
    scale = (size[0] // x.shape[-2], size[1] // x.shape[-1])
    return lower.emit(call, Upsample2d(scale), x)[0]


def _planes(lower: Lowering, call: Call, op: MaxPool2d, x: Value) -> Value:
    """Pool the last two axes; all before them are taken for channels."""
    if len(x.shape) == 3:
        return lower.emit(call, op, x)[0]
    if len(x.shape) < 2:
        raise NoCounterpartError("it works along the time or batch axis")
    planes = (-1, *x.shape[-2:]) if len(x.shape) > 2 else (1, *x.shape)
    channels = 1
    for axis in x.shape[:-2]:
        channels *= axis
    (flat,) = lower.emit(call, Reshape((channels, *planes[1:])), x)
    (pooled,) = lower.emit(call, op, flat)
    return lower.emit(call, Reshape(call.shape), pooled)[0]


def _window(values: list[int], rank: int, neutral: int) -> Pair:
    """The part of a window in the last two axes; the others must be left alone."""
    full = list(values) * rank if len(values) == 1 else list(values)
    if rank == 3 and full[0] != neutral:
        raise NoCounterpartError("it pools over three axes")
    return (neutral, full[0]) if rank == 1 else (full[-2], full[-1])


def _name(call: Call) -> str:
    return call.node.target._opname  # type: ignore[no-any-return, union-attr]


def _pair(values: list[int] | tuple[int, ...]) -> Pair:
    first, *rest = values
    return first, rest[0] if rest else first
