"""New shapes and orders of axes, those that fold time or samples with other axes included.

What is folded is followed until it is apart again: a reshape keeps the order of elements, and of an
order of elements both captures say which axes a new shape is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

from torch import Tensor

from spikeloom.compiler.frontends.torch.axes import OWN, Lead, NoCounterpartError
from spikeloom.compiler.frontends.torch.folds import Axis, regrouped
from spikeloom.compiler.frontends.torch.lowering import Lowering
from spikeloom.compiler.frontends.torch.operands import Folded, Operand, StillFoldedError, Value
from spikeloom.compiler.frontends.torch.rule import Call, Rule, rule
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.transpose import Transpose


@rule(
    "contiguous", "clone", "detach", "alias", "dropout", "detach_", "lift_fresh_copy", "dropout_",
    "feature_dropout",
    "nan_to_num",  # no value of a graph is infinite
    "to.dtype", "to.device", "to.other", "_to_copy", "type_as",
    folds=True,
)  # fmt: skip
def same(lower: Lowering, call: Call) -> Operand:
    """Operations without effect on the values."""
    if call.arguments.get("train"):
        raise NoCounterpartError("dropout is active; call model.eval() first")
    return _first_operand(call)


@rule("flatten.using_ints", "unflatten.int", "reshape", "view", "_unsafe_view", folds=True)
def reshape(lower: Lowering, call: Call) -> Operand:
    """A new shape; folding time into the batch, or unfolding it, is nothing for one sample."""
    x = _first_operand(call)
    if isinstance(x, Folded):
        return _reshaped(lower, call, x.value)
    one_step = lower.sizes[0].steps == 1
    if Lead.SPREAD in (x.lead, call.lead):
        return _reshaped(lower, call, x)
    if x.lead.outer != call.lead.outer and call.lead.has_time and x.lead.has_time and not one_step:
        raise NoCounterpartError("it exchanges time and batch by a reshape, which mixes the samples")
    if call.lead.has_time != x.lead.has_time and not one_step:
        return _reshaped(lower, call, x)
    if call.shape == x.shape:
        return replace(x, lead=call.lead)
    return lower.emit(call, Reshape(call.shape), x)[0]


def _reshaped(lower: Lowering, call: Call, x: Value) -> Operand:
    """A new shape by the order of elements, whatever it folds and cuts."""
    x = _unfolded(x)
    before = ", ".join(map(str, _sizes(lower, x)))
    fault = f"{_kind(call)} mixes time or batch with other axes: [{before}] to {list(call.shapes[0])}"
    still = Folded(x, (), call.source, fault)
    if "T" in x.tags and lower.sizes[0].steps == 1:
        raise StillFoldedError(still)
    groups = regrouped(_axes(lower, x), call.shapes)
    if groups is None:
        return still
    axes = [axis for group in groups for axis in group]
    own = tuple(axis.sizes[0] for axis in axes if axis.is_own)
    if own != x.shape:
        (x,) = lower.emit(call, Reshape(own), x, lead=x.lead)
    x = arranged(x, [axis.tag for axis in axes])
    return still.around(x, tuple(len(group) for group in groups))


def _unfolded(x: Value) -> Value:
    """A value with time and samples in axes of their own."""
    return arranged(x, [part for tag in x.tags for part in tag.split("*")])


def _axes(lower: Lowering, x: Value) -> list[Axis]:
    if any(x.margin):
        raise NoCounterpartError("its operand goes on in time before or after the sample")
    first, second = (size.longer(x.overtime) for size in lower.sizes)
    lead = {"T": (first.steps, second.steps), "B": (first.batch, second.batch)}
    own = iter(x.shape)
    return [Axis(tag, lead[tag] if tag else (size := next(own), size)) for tag in x.tags]


def _sizes(lower: Lowering, x: Value) -> list[int]:
    """Of its axes in the first capture."""
    return [axis.sizes[0] for axis in _axes(lower, x)]


@rule(
    "transpose.int", "permute", "t", "mT", "numpy_T", "swapaxes", "swapdims.int", "swapdims",
    "movedim.int", "movedim.intlist", "moveaxis.int", "moveaxis.intlist",
    folds=True,
)  # fmt: skip
def transpose(lower: Lowering, call: Call) -> Operand:
    """Axes in another order."""
    x = _first_operand(call)
    if isinstance(x, Value):
        return _permuted(lower, call, x, _full_order(call, len(x.tags)))
    if not x.counts:
        raise StillFoldedError(x)
    order = _full_order(call, len(x.counts))
    places = [place for axis in order for place in x.places(axis)]
    return x.around(_permuted(lower, call, x.value, places), tuple(x.counts[axis] for axis in order))


def _permuted(lower: Lowering, call: Call, x: Value, order: Sequence[int]) -> Value:
    tags = [x.tags[place] for place in order]
    own = tuple(x.tags[:place].count(OWN) for place in order if x.tags[place] == OWN)
    if own != tuple(range(len(own))):
        (x,) = lower.emit(call, Transpose(own), x, lead=x.lead)
    return arranged(x, tags)


def _full_order(call: Call, rank: int) -> list[int]:
    order = list(range(rank))
    if "dims" in call.arguments:
        return [axis % rank for axis in call.arguments["dims"]]
    if "source" in call.arguments:
        ends = (call.arguments[end] for end in ("source", "destination"))
        pairs = zip(*([end] if isinstance(end, int) else end for end in ends), strict=True)
        moved = sorted((place % rank, axis % rank) for axis, place in pairs)
        order = [axis for axis in order if axis not in [one for _, one in moved]]
        for place, axis in moved:
            order.insert(place, axis)
        return order
    names = [name for name in ("dim0", "dim1", "axis0", "axis1") if name in call.arguments]
    first, second = (call.arguments[name] % rank for name in names) if names else (rank - 2, rank - 1)
    order[first], order[second] = order[second], order[first]
    return order


def arranged(x: Value, tags: Sequence[str]) -> Value:
    """A value seen with these axes, its own in the same order."""
    for lead in Lead:
        if lead is not Lead.SPREAD and list(tags) == [*lead.tags, *(OWN for _ in x.shape)]:
            return replace(x, lead=lead, spread=())
    return replace(x, lead=Lead.SPREAD, spread=tuple(tags))


def each_element(function: Rule) -> Rule:
    """A rule that works on single elements: what is folded may stay so.

    Its result has the axes of its operands, with constants folded like them.
    """

    @wraps(function)
    def followed(lower: Lowering, call: Call) -> Operand:
        folded = [operand for operand in call.arguments.values() if isinstance(operand, Folded)]
        if not folded:
            return function(lower, call)
        like = folded[0]
        arguments = {name: _apart(lower, like, operand) for name, operand in call.arguments.items()}
        x = like.value
        result = function(lower, replace(call, arguments=arguments, lead=x.lead, shape=x.shape))
        if not isinstance(result, Value):
            raise NoCounterpartError("its operand folds time or samples with other axes")
        return like.around(result)

    return followed


def _apart(lower: Lowering, like: Folded, operand: Any) -> Any:
    """An operand with the axes that a folded one has before it is folded."""
    if isinstance(operand, Tensor) and operand.ndim:
        if operand.ndim > len(like.counts):
            raise NoCounterpartError("its constant has more axes than its operand, which is folded")
        sizes = _sizes(lower, like.value)
        padded = (1,) * (len(like.counts) - operand.ndim) + tuple(operand.shape)
        each = [
            [1 if size == 1 else sizes[place] for place in like.places(axis)]
            for axis, size in enumerate(padded)
        ]
        return operand.reshape([size for group in each for size in group])
    if isinstance(operand, Value):
        raise NoCounterpartError("only one of its operands folds time or samples with other axes")
    if isinstance(operand, Folded) and (operand.counts, operand.value.tags) != (like.counts, like.value.tags):
        raise NoCounterpartError("its operands fold time or samples with other axes, in different ways")
    like.places(0)
    return operand.value if isinstance(operand, Folded) else operand


def _first_operand(call: Call) -> Value | Folded:
    name = next(iter(call.arguments))
    operand = call.arguments[name]
    return operand if isinstance(operand, Folded) else call.value(name)


def _kind(call: Call) -> str:
    name: str = call.node.target.__name__  # type: ignore[union-attr]
    return name.removesuffix(".default")
