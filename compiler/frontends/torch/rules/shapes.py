"""Operations that only move elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor, fx

from spikeloom.compiler.frontends.torch.axes import OWN, Lead, NoCounterpartError, Shape
from spikeloom.compiler.frontends.torch.lowering import Lowering
from spikeloom.compiler.frontends.torch.operands import Border, Operand, Value, View, constant_of
from spikeloom.compiler.frontends.torch.rule import Call, rule
from spikeloom.compiler.frontends.torch.rules.folding import arranged
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.slice import Slice
from spikeloom.compiler.graph.ops.split import Split


def _first_value(call: Call) -> Value:
    return call.value(next(iter(call.arguments)))


@rule("unsqueeze", "squeeze", "squeeze.dim", "squeeze.dims", any_layout=True)
def single_axes(lower: Lowering, call: Call) -> Operand:
    """Axes of one element, made or dropped."""
    x = _first_value(call)
    tags = list(x.tags)
    if call.node.target.__name__.startswith("unsqueeze"):  # type: ignore[union-attr]
        place = call.arguments["dim"] % (len(tags) + 1)
        if place == 0 and x.lead is Lead.BATCH and lower.sizes[0].steps == 1:  # to be repeated over time
            return replace(x, lead=Lead.TIME_BATCH)
        sizes = list(x.shape)
        sizes.insert(tags[:place].count(OWN), 1)
        tags.insert(place, OWN)
        return _retagged(lower, call, x, tags, tuple(sizes))
    dims = call.arguments.get("dim", range(len(tags)))
    dims = {axis % len(tags) for axis in ([dims] if isinstance(dims, int) else dims)}
    if 0 in dims and x.lead is Lead.TIME_BATCH and lower.sizes[0].steps == 1:
        x, tags, dims = replace(x, lead=Lead.BATCH), tags[1:], {axis - 1 for axis in dims - {0}}
    own = [place for place, tag in enumerate(tags) if tag == OWN]
    dropped = {place for place, size in zip(own, x.shape, strict=True) if place in dims and size == 1}
    sizes = [size for place, size in zip(own, x.shape, strict=True) if place not in dropped]
    kept = [tag for place, tag in enumerate(tags) if place not in dropped]
    return _retagged(lower, call, x, kept, tuple(sizes))


def _retagged(lower: Lowering, call: Call, x: Value, tags: Sequence[str], shape: Shape) -> Value:
    """A value whose axes are now these."""
    if shape != x.shape:
        (x,) = lower.emit(call, Reshape(shape), x, lead=x.lead)
    return arranged(x, tags)


@rule("chunk", "split.Tensor", "split_with_sizes", "unbind.int", any_layout=True)
def split(lower: Lowering, call: Call) -> Operand:
    """Consecutive pieces along one axis."""
    x = _first_value(call)
    if lower.takes_turn(x, call.arguments["dim"]) and len(call.node.meta["val"]) == 1:
        return (replace(x, lead=Lead.BATCH),)
    place = call.arguments["dim"] % len(x.tags)
    axis = call.own_axis(place, x)
    pieces = [tuple(piece.shape) for piece in call.node.meta["val"]]
    unbinds = len(pieces[0]) < len(x.tags)
    sizes = tuple(1 if unbinds else piece[place] for piece in pieces)
    parts = lower.emit(call, Split(axis, sizes), x, lead=x.lead)
    return tuple(_without(lower, call, part, place) if unbinds else part for part in parts)


def _without(lower: Lowering, call: Call, x: Value, place: int) -> Value:
    """A value without an axis of one element."""
    axis = call.own_axis(place, x)
    tags = [tag for at, tag in enumerate(x.tags) if at != place]
    return _retagged(lower, call, x, tags, x.shape[:axis] + x.shape[axis + 1 :])


@rule("cat", any_layout=True)
def concat(lower: Lowering, call: Call) -> Operand:
    """Values one after the other along one axis."""
    parts = call.arguments["tensors"]
    values = [part for part in parts if isinstance(part, Value)]
    axis = call.own_axis(call.arguments["dim"], values[0])
    if len(values) == len(parts):
        return lower.emit(call, Concat(axis), *parts, lead=parts[0].lead)[0]
    if len(values) > 1:
        raise NoCounterpartError("it joins constants and several values")
    return _beside_constants(lower, call, parts, axis)


def _beside_constants(lower: Lowering, call: Call, parts: list[Operand], axis: int) -> Value:
    """A value between constants, such as the token of a class: a border, and numbers added to it."""
    (x,) = (part for part in parts if isinstance(part, Value))
    place = next(number for number, part in enumerate(parts) if part is x)
    own = [None if part is x else _sample_of(part, x) for part in parts]
    lengths = [x.shape[axis] if array is None else array.shape[axis] for array in own]
    before, after = ([0] * len(x.shape) for _ in range(2))
    before[axis], after[axis] = sum(lengths[:place]), sum(lengths[place + 1 :])
    (padded,) = lower.emit(call, Pad(tuple(before), tuple(after)), x, lead=x.lead)
    kept = np.zeros(x.shape, np.float32)
    border = np.concatenate([kept if array is None else array for array in own], axis)
    return lower.emit(call, Affine(np.ones((), np.float32), border), padded, lead=x.lead)[0]


def _sample_of(constant: Operand, x: Value) -> Array:
    """What a constant holds for one sample, with every axis of its own."""
    if not isinstance(constant, Tensor) or constant.ndim != len(x.tags):
        raise NoCounterpartError("it joins constants of another number of axes")
    array = constant_of(constant, x)
    shape = [n for n, tag in zip(constant.shape, x.tags, strict=True) if tag == OWN]
    return np.broadcast_to(array, shape).astype(np.float32)


@rule("slice.Tensor", any_layout=True)
def cut(lower: Lowering, call: Call) -> Operand:
    """A piece of one axis; of time, only what goes on before or after the sample may be cut off."""
    x = call.value("self")
    dim = call.arguments["dim"] % len(x.tags)
    is_time = x.tags[dim] == "T"
    whole = lower.sizes[0].steps + x.overtime + sum(x.margin) if is_time else 2**63 - 1
    size = x.shape[call.own_axis(dim, x)] if x.tags[dim] == OWN else whole
    start, stop = (_bound(call.arguments[name], size, end) for name, end in (("start", 0), ("end", size)))
    step = call.arguments["step"]
    if start == 0 and stop >= size and step == 1:
        return x
    before, after = x.margin
    if is_time and any(x.margin) and (start, stop, step) == (before, size - after, 1):
        return replace(x, margin=(0, 0))
    axis = call.own_axis(dim, x)
    (piece,) = lower.emit(call, Slice(axis, start, stop, step), x, lead=x.lead)
    lower.views[piece.name] = View(x.name, axis, start, stop)
    return piece


@rule("select.int", any_layout=True)
def select(lower: Lowering, call: Call) -> Operand:
    """One element of an axis; in a loop over time, the one that there is."""
    x = call.value("self")
    if lower.takes_turn(x, call.arguments["dim"]):
        return replace(x, lead=Lead.BATCH)
    place = call.arguments["dim"] % len(x.tags)
    axis = call.own_axis(place, x)
    index = call.arguments["index"] % x.shape[axis]
    (piece,) = lower.emit(call, Slice(axis, index, index + 1, 1), x, lead=x.lead)
    return _without(lower, call, piece, place)


@rule("stack")
def stack(lower: Lowering, call: Call) -> Operand:
    """Values side by side along a new axis; behind a loop over time, that of time."""
    parts = call.arguments["tensors"]
    if lower.loops and len(parts) == 1 and isinstance(parts[0], Value) and call.arguments["dim"] in (0, 1):
        return replace(parts[0], lead=(Lead.TIME_BATCH, Lead.BATCH_TIME)[call.arguments["dim"]])
    if not all(isinstance(part, Value) for part in parts):
        raise NoCounterpartError("it joins constants")
    dim = call.arguments["dim"] % (parts[0].lead.axes + len(parts[0].shape) + 1)
    axis = dim - parts[0].lead.axes
    if axis < 0:
        raise NoCounterpartError("it stacks along the time or batch axis")
    shape = (*parts[0].shape[:axis], 1, *parts[0].shape[axis:])
    widened = [lower.emit(call, Reshape(shape), part)[0] for part in parts]
    return lower.emit(call, Concat(axis), *widened)[0]


@rule("repeat", "expand", "expand_as", any_layout=True)
def repeat(lower: Lowering, call: Call) -> Operand:
    """A frame for every time step, or an axis of one element widened."""
    x = _first_value(call)
    if x.spread:
        return _widened(lower, call, x)
    if call.lead is Lead.SPREAD:
        raise NoCounterpartError("it mixes time or batch with other axes")
    if call.shape == x.shape:  # only time grew: each step sees the same frame
        return replace(x, lead=call.lead)
    if x.lead is not call.lead:
        raise NoCounterpartError("it makes the axis of time and widens another")
    wide = [have for have, want in zip(x.shape, call.shape, strict=False) if have not in (1, want)]
    if wide or len(x.shape) != len(call.shape):
        raise NoCounterpartError(f"it tiles {list(x.shape)} to {list(call.shape)}")
    return lower.emit(call, Broadcast(call.shape), x)[0]


def _widened(lower: Lowering, call: Call, x: Value) -> Value:
    """Axes of one element widened, where time and samples do not stand in front."""
    sizes = _sizes(call)
    own = tuple(size for size, tag in zip(sizes, x.tags, strict=False) if tag == OWN)
    wide = [have for have, want in zip(x.shape, own, strict=False) if have not in (1, want)]
    if wide or len(sizes) != len(x.tags):
        raise NoCounterpartError(f"it tiles {list(x.shape)} to {list(own)}")
    return x if own == x.shape else lower.emit(call, Broadcast(own), x)[0]


def _sizes(call: Call) -> Shape:
    """All axes of a result, in the first capture."""
    return tuple(int(size) for size in call.node.meta["val"].shape)


@rule("pad", "constant_pad_nd", any_layout=True)
def pad(lower: Lowering, call: Call) -> Operand:
    """A border of one number around the last axes."""
    x = call.value("self")
    if call.arguments.get("mode", "constant") != "constant":
        raise NoCounterpartError(f"it pads in mode {call.arguments['mode']}")
    widths = list(call.arguments["pad"])
    axes = len(widths) // 2
    if OWN not in x.tags[-axes:] or set(x.tags[-axes:]) != {OWN}:
        return _longer(lower, call, x, widths)
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


def _longer(lower: Lowering, call: Call, x: Value, widths: list[int]) -> Value:
    """Zeros before and after the sample; as many steps cut off at its end make a value of the past."""
    pairs = dict(zip(reversed(range(len(x.tags))), zip(widths[::2], widths[1::2], strict=True), strict=False))
    time = pairs.pop(x.tags.index("T"), (0, 0)) if "T" in x.tags else (0, 0)
    if any(map(any, pairs.values())) or float(call.arguments.get("value") or 0) or any(x.margin):
        raise NoCounterpartError("it pads the batch axis, or time with something else than zeros")
    before, after = time
    if before > 0 and after == -before:
        return lower.emit(call, Delay(np.array(before)), x, lead=x.lead)[0]
    if before < 0 or after < 0:
        raise NoCounterpartError(f"it pads time by {before} and {after} steps")
    return replace(x, margin=(before, after))


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
