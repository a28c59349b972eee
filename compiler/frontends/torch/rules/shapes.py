"""Operations that only move elements."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import fx

from spikeloom.compiler.frontends.torch.lowering import (
    Border,
    Call,
    Lowering,
    NoCounterpartError,
    Operand,
    Value,
    View,
    constant_of,
    rule,
)
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.slice import Slice
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.transpose import Transpose


def _first_value(call: Call) -> Value:
    return call.value(next(iter(call.arguments)))


@rule(
    "contiguous", "clone", "detach", "alias", "dropout", "detach_", "to.dtype", "lift_fresh_copy", "dropout_"
)
def same(lower: Lowering, call: Call) -> Operand:
    """Operations without effect on the values."""
    if call.arguments.get("train"):
        raise NoCounterpartError("dropout is active; call model.eval() first")
    return _first_value(call)


@rule(
    "flatten.using_ints", "unflatten.int", "reshape", "view", "_unsafe_view",
    "unsqueeze", "squeeze.dim", "squeeze.dims",
)  # fmt: skip
def reshape(lower: Lowering, call: Call) -> Operand:
    """A new shape; folding time into the batch, or unfolding it, is nothing for one sample."""
    x = _first_value(call)
    if call.lead.has_time != x.lead.has_time and lower.sizes[0].steps != 1:
        raise NoCounterpartError("it drops or makes the axis of time by a reshape")
    if x.lead.outer != call.lead.outer and lower.sizes[0].steps != 1:
        raise NoCounterpartError("it exchanges time and batch by a reshape, which mixes the samples")
    if call.shape == x.shape:
        return replace(x, lead=call.lead)
    return lower.emit(call, Reshape(call.shape), x)[0]


@rule("transpose.int", "permute", "t", "mT", "numpy_T")
def transpose(lower: Lowering, call: Call) -> Operand:
    """Axes in another order; time and batch may change places, and stay in front."""
    x = _first_value(call)
    order = _full_order(call, x)
    n = x.lead.axes
    if sorted(order[:n]) != list(range(n)):
        raise NoCounterpartError("it moves the time or batch axis behind others")
    own = tuple(axis - n for axis in order[n:])
    if own == tuple(range(len(own))):
        return replace(x, lead=call.lead)
    return lower.emit(call, Transpose(own), x)[0]


def _full_order(call: Call, x: Value) -> list[int]:
    rank = x.lead.axes + len(x.shape)
    order = list(range(rank))
    if "dims" in call.arguments:
        return [axis % rank for axis in call.arguments["dims"]]
    first, second = call.arguments.get("dim0", -2) % rank, call.arguments.get("dim1", -1) % rank
    order[first], order[second] = order[second], order[first]
    return order


@rule("chunk", "split.Tensor", "split_with_sizes", "unbind.int")
def split(lower: Lowering, call: Call) -> Operand:
    """Consecutive pieces along one axis."""
    x = _first_value(call)
    axis = call.own_axis(call.arguments["dim"], x)
    pieces = [tuple(piece.shape) for piece in call.node.meta["val"]]
    unbinds = len(pieces[0]) < x.lead.axes + len(x.shape)
    sizes = tuple(1 if unbinds else piece[x.lead.axes + axis] for piece in pieces)
    parts = lower.emit(call, Split(axis, sizes), x, lead=x.lead)
    if unbinds:
        return tuple(
            lower.emit(call, Reshape(pieces[0][x.lead.axes :]), part, lead=x.lead)[0] for part in parts
        )
    return tuple(parts)


@rule("cat")
def concat(lower: Lowering, call: Call) -> Operand:
    """Values one after the other along one axis."""
    parts = call.arguments["tensors"]
    if not all(isinstance(part, Value) for part in parts):
        raise NoCounterpartError("it joins constants")
    return lower.emit(call, Concat(call.own_axis(call.arguments["dim"], parts[0])), *parts)[0]


@rule("slice.Tensor")
def cut(lower: Lowering, call: Call) -> Operand:
    """A piece of one axis."""
    x = call.value("self")
    rank = x.lead.axes + len(x.shape)
    dim = call.arguments["dim"] % rank
    size = 2**63 - 1 if dim < x.lead.axes else x.shape[dim - x.lead.axes]
    start, stop = (_bound(call.arguments[name], size, end) for name, end in (("start", 0), ("end", size)))
    step = call.arguments["step"]
    if start == 0 and stop >= size and step == 1:
        return x
    axis = call.own_axis(dim, x)
    (piece,) = lower.emit(call, Slice(axis, start, stop, step), x)
    lower.views[piece.name] = View(x.name, axis, start, stop)
    return piece


@rule("select.int")
def select(lower: Lowering, call: Call) -> Operand:
    """One element of an axis."""
    x = call.value("self")
    dim = call.arguments["dim"] % (x.lead.axes + len(x.shape))
    axis = call.own_axis(dim, x)
    index = call.arguments["index"] % x.shape[axis]
    (piece,) = lower.emit(call, Slice(axis, index, index + 1, 1), x)
    return lower.emit(call, Reshape(call.shape), piece)[0]


@rule("stack")
def stack(lower: Lowering, call: Call) -> Operand:
    """Values side by side along a new axis."""
    parts = call.arguments["tensors"]
    if not all(isinstance(part, Value) for part in parts):
        raise NoCounterpartError("it joins constants")
    dim = call.arguments["dim"] % (parts[0].lead.axes + len(parts[0].shape) + 1)
    axis = dim - parts[0].lead.axes
    if axis < 0:
        raise NoCounterpartError("it stacks along the time or batch axis")
    shape = (*parts[0].shape[:axis], 1, *parts[0].shape[axis:])
    widened = [lower.emit(call, Reshape(shape), part)[0] for part in parts]
    return lower.emit(call, Concat(axis), *widened)[0]


@rule("repeat", "expand", "expand_as")
def repeat(lower: Lowering, call: Call) -> Operand:
    """A frame for every time step, or an axis of one element widened."""
    x = _first_value(call)
    if call.shape == x.shape:  # only time grew: each step sees the same frame
        return replace(x, lead=call.lead)
    if x.lead is not call.lead:
        raise NoCounterpartError("it makes the axis of time and widens another")
    wide = [have for have, want in zip(x.shape, call.shape, strict=False) if have not in (1, want)]
    if wide or len(x.shape) != len(call.shape):
        raise NoCounterpartError(f"it tiles {list(x.shape)} to {list(call.shape)}")
    return lower.emit(call, Broadcast(call.shape), x)[0]


@rule("pad", "constant_pad_nd")
def pad(lower: Lowering, call: Call) -> Operand:
    """A border of one number around the last axes."""
    x = call.value("self")
    if call.arguments.get("mode", "constant") != "constant":
        raise NoCounterpartError(f"it pads in mode {call.arguments['mode']}")
    widths = list(call.arguments["pad"])
    axes = len(widths) // 2
    if axes > len(x.shape):
        raise NoCounterpartError("it pads the time or batch axis")
    kept = (0,) * (len(x.shape) - axes)
    before, after = (kept + tuple(reversed(widths[side::2])) for side in (0, 1))
    value = float(call.arguments.get("value") or 0)
    (padded,) = lower.emit(call, Pad(before, after, value), x)
    if value != 0 or not _is_written(call.node):
        return padded
    border = Border(before, after, np.zeros(padded.shape, np.float32))
    (bordered,) = lower.emit(call, Affine(np.ones((), np.float32), border.values), padded)
    lower.borders[bordered.name] = border
    return bordered


@rule("copy_", "fill_.Tensor", "fill_.Scalar")
def overwrite(lower: Lowering, call: Call) -> Operand:
    """A constant written over the border that a padding has made: it is added to the zeros there."""
    x = _first_value(call)
    view = lower.views.get(x.name)
    border = lower.borders.get(view.base) if view is not None else None
    if view is None or border is None or not border.holds(view):
        raise NoCounterpartError("it overwrites part of a value in place")
    piece = border.values[(slice(None),) * view.axis + (slice(view.start, view.stop),)]
    piece[...] = constant_of(call.arguments["src" if "src" in call.arguments else "value"], x)
    return x


def _is_written(node: fx.Node) -> bool:
    """Whether parts of a result are overwritten in place later."""
    return any(
        "copy_" in str(user.target) or "fill_" in str(user.target) or _is_written(user)
        for user in node.users
        if any(name in str(user.target) for name in ("slice", "copy_", "fill_"))
    )


def _bound(given: int | None, size: int, absent: int) -> int:
    if given is None:
        return absent
    return min(given, size) if given >= 0 else given + size
