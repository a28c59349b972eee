"""Operations that only move elements."""

from __future__ import annotations

from dataclasses import replace

from spikeloom.compiler.frontends.torch.lowering import (
    Call,
    Lowering,
    NoCounterpartError,
    Operand,
    Value,
    rule,
)
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.transpose import Transpose


def _first_value(call: Call) -> Value:
    return call.value(next(iter(call.arguments)))


@rule("contiguous", "clone", "detach", "alias", "dropout", "detach_")
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
    if x.lead.outer != call.lead.outer:
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
