"""Sums, products and scales."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real

import numpy as np
from torch import Tensor

from spikeloom.compiler.frontends.torch.axes import Lead, NoCounterpartError
from spikeloom.compiler.frontends.torch.lowering import Lowering
from spikeloom.compiler.frontends.torch.operands import (
    Folded,
    Masked,
    Operand,
    Pairs,
    Spectrum,
    StillFoldedError,
    Value,
    constant_of,
    constants_of_steps,
)
from spikeloom.compiler.frontends.torch.rule import Call, rule
from spikeloom.compiler.frontends.torch.rules.complex import rotated
from spikeloom.compiler.frontends.torch.rules.folding import each_element
from spikeloom.compiler.frontends.torch.rules.fourier import filtered
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.compiler.graph.ops.divide import Divide
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.mean import Mean
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.step_affine import StepAffine
from spikeloom.compiler.graph.ops.time_mean import TimeMean
from spikeloom.errors import counted

NOTHING = -1e4
"""What is filled in below it is meant for minus infinity."""


@rule("add.Tensor", "add_.Tensor", "add.Scalar", folds=True)
@each_element
def add(lower: Lowering, call: Call) -> Operand:
    """A residual, or a constant added."""
    a, b = call.arguments["self"], call.arguments["other"]
    if call.arguments.get("alpha", 1) != 1:
        raise NoCounterpartError("it scales one operand")
    if isinstance(a, Value) and isinstance(b, Value):
        return lower.emit(call, Add(), *_aligned(lower, call, a, b))[0]
    x, other = (a, b) if isinstance(a, Value) else (b, a)
    if not isinstance(x, Value):
        x = call.value("self" if x is a else "other")
    if (each := constants_of_steps(other, x)) is not None:
        return _of_steps(lower, call, x, np.ones_like(each), each)
    constant = constant_of(other, x)
    if bool(np.isneginf(constant).any()):
        return _masked(lower, call, x, constant)
    return lower.emit(call, Affine(np.ones((), np.float32), constant), x)[0]


def _masked(lower: Lowering, call: Call, x: Value, added: Array) -> Masked:
    """A constant added that is minus infinity in places."""
    kept = ~np.isneginf(added)
    rest = np.where(kept, added, 0).astype(np.float32)
    if rest.any():
        (x,) = lower.emit(call, Affine(np.ones((), np.float32), rest), x)
    return Masked(x, kept)


@rule("masked_fill.Scalar", "masked_fill_.Scalar")
def masked_fill(lower: Lowering, call: Call) -> Operand:
    """Elements that are nothing behind a softmax; or others that a constant takes the place of."""
    x, mask, value = call.value("self"), call.arguments["mask"], float(call.arguments["value"])
    if not isinstance(mask, Tensor):
        raise NoCounterpartError("its mask depends on the input")
    filled = constant_of(mask, x).astype(bool)
    if value <= NOTHING:
        return Masked(x, ~filled)
    scale, offset = np.where(filled, 0, 1).astype(np.float32), np.where(filled, value, 0).astype(np.float32)
    return lower.emit(call, Affine(scale, offset), x)[0]


@rule("sub.Tensor", "sub_.Tensor", "sub.Scalar", "rsub.Tensor", "rsub.Scalar", folds=True)
@each_element
def subtract(lower: Lowering, call: Call) -> Operand:
    """A difference: of two values, or of a value and a constant."""
    a, b = call.arguments["self"], call.arguments["other"]
    if call.node.target.__name__.startswith("rsub"):  # type: ignore[union-attr]
        a, b = b, a
    if call.arguments.get("alpha", 1) != 1:
        raise NoCounterpartError("it scales one operand")
    if isinstance(b, Value):
        (b,) = lower.emit(call, Affine(np.array(-1, np.float32), np.zeros((), np.float32)), b)
    else:
        b = -np.array(b, np.float32) if isinstance(b, Real) else -b
    if isinstance(a, Value) and isinstance(b, Value):
        return lower.emit(call, Add(), *_aligned(lower, call, a, b))[0]
    x, other = (a, b) if isinstance(a, Value) else (b, a)
    return lower.emit(call, Affine(np.ones((), np.float32), constant_of(other, x)), x)[0]


@rule("neg", folds=True)
@each_element
def negate(lower: Lowering, call: Call) -> Operand:
    """The value with its sign changed."""
    op = Affine(np.array(-1, np.float32), np.zeros((), np.float32))
    return lower.emit(call, op, call.value("self"))[0]


@rule("mul.Tensor", "mul_.Tensor", "mul.Scalar", "div.Tensor", "div_.Tensor", "div.Scalar", folds=True)
@each_element
def multiply(lower: Lowering, call: Call) -> Operand:
    """A product of two values, such as a mask; or a constant factor, such as the scale of an attention."""
    a, b = call.arguments["self"], call.arguments["other"]
    if isinstance(a, Spectrum) or isinstance(b, Spectrum):
        return filtered(a, b)
    if isinstance(a, Pairs) or isinstance(b, Pairs):
        return rotated(lower, call, a, b)
    divides = call.node.target.__name__.startswith("div")  # type: ignore[union-attr]
    if divides and isinstance(b, Value):
        if not isinstance(a, Value):
            (a,) = lower.emit(call, Affine(np.zeros((), np.float32), constant_of(a, b)), b, lead=b.lead)
        return lower.emit(call, Divide(), *_aligned(lower, call, a, b))[0]
    if isinstance(a, Value) and isinstance(b, Value):
        return lower.emit(call, Mul(), *_aligned(lower, call, a, b))[0]
    x, other = (a, b) if isinstance(a, Value) else (b, a)
    if not divides and (each := constants_of_steps(other, x)) is not None:
        return _of_steps(lower, call, x, each, np.zeros_like(each))
    constant = constant_of(other, x)
    x = _as_wide_as(lower, call, x, constant)
    factor = np.asarray(1 / constant.astype(np.float64)) if divides else constant
    (y,) = lower.emit(call, Affine(factor, np.zeros((), np.float32)), x)
    if divides:
        lower.divisors[y.name] = constant
    return y


def _as_wide_as(lower: Lowering, call: Call, x: Value, constant: Array) -> Value:
    """A value whose axes of one element are as wide as those of a constant factor."""
    if constant.ndim != len(x.shape):
        return x
    wide = tuple(max(pair) for pair in zip(constant.shape, x.shape, strict=True))
    return x if wide == x.shape else lower.emit(call, Broadcast(wide), x, lead=x.lead)[0]


def _of_steps(lower: Lowering, call: Call, x: Value, *constants: Array) -> Value:
    """A factor and a summand of their own for each time step."""
    steps = len(constants[0])
    if lower.steps == 0:
        raise NoCounterpartError("its constant differs over time, and the number of steps is not known")
    if steps != lower.steps:
        raise NoCounterpartError(f"it has constants for {steps} of {counted(lower.steps, 'time step')}")
    missing = (1,) * (len(x.shape) + 1 - constants[0].ndim)
    scale, offset = (each.reshape(steps, *missing, *each.shape[1:]) for each in constants)
    return lower.emit(call, StepAffine(scale, offset), x, lead=x.lead)[0]


@rule("matmul", "bmm")
def matmul(lower: Lowering, call: Call) -> Operand:
    """A product of two values, or of a value with a constant matrix on its right."""
    first, second = list(call.arguments)[:2]
    a, other = call.value(first), call.arguments[second]
    if isinstance(other, Tensor) and other.ndim == 2:
        weight = other.detach().cpu().numpy().T  # a view: PyTorch then sums in the same order
        return lower.emit(call, Linear(weight, None), a)[0]
    return lower.emit(call, MatMul(), a, call.value(second))[0]


@rule("mean.dim", "sum.dim_IntList", folds=True)
def reduce(lower: Lowering, call: Call) -> Operand:
    """A mean or sum over a sample's own axes, over time, or both."""
    folded = call.arguments["self"]
    if isinstance(folded, Folded):
        return _reduced_apart(lower, call, folded)
    x = call.value("self")
    averages = call.node.target.__name__.startswith("mean")  # type: ignore[union-attr]
    if x.spread:
        raise NoCounterpartError("time and samples are not the first axes of what it reduces")
    dims = call.arguments["dim"]
    rank = x.lead.axes + len(x.shape)
    axes = {axis % rank for axis in ([dims] if isinstance(dims, int) else dims)}
    whole = x
    if over_time := {axis for axis in axes if _is_time(x, axis)}:
        x = _over_time(lower, call, x, averages)
    own = tuple(sorted(axis - whole.lead.axes for axis in axes - over_time))
    if own and own[0] < 0:
        raise NoCounterpartError("it works along the batch axis")
    shape = tuple(1 if axis in own else size for axis, size in enumerate(whole.shape))
    if own:
        kind = Mean if averages else ReduceSum
        summed, (x,) = x.name, lower.emit(call, kind(own), x, lead=x.lead)
        if over_time and summed != whole.name:
            lower.joint[x.name] = (summed, tuple(sorted(axes)))
    if call.arguments["keepdim"] and own:
        (x,) = lower.emit(call, Reshape(shape), x, lead=x.lead)
    return x


def _reduced_apart(lower: Lowering, call: Call, x: Folded) -> Operand:
    """A mean or sum over axes that fold time with others: over each that they are made of, at once."""
    if not x.counts:
        raise StillFoldedError(x)
    if call.arguments["keepdim"]:
        raise NoCounterpartError("it keeps an axis that folds time or samples with others")
    dims, rank = call.arguments["dim"], len(x.counts)
    axes = {axis % rank for axis in ([dims] if isinstance(dims, int) else dims)}
    places = [place for axis in axes for place in x.places(axis)]
    result = reduce(lower, replace(call, arguments={**call.arguments, "self": x.value, "dim": places}))
    assert isinstance(result, Value)
    return x.around(result, tuple(count for axis, count in enumerate(x.counts) if axis not in axes))


def _is_time(x: Value, axis: int) -> bool:
    return axis < x.lead.axes and x.lead.value.split(",")[axis] == "T"


def _over_time(lower: Lowering, call: Call, x: Value, averages: bool) -> Value:
    if call.arguments["keepdim"]:
        raise NoCounterpartError("it keeps the axis of time")
    if lower.sizes[0].steps == 1 and not lower.loops:
        return replace(x, lead=Lead.BATCH)
    if lower.steps == 0:
        raise NoCounterpartError("it reduces time, and the number of steps is not known: give --steps")
    op = TimeMean(lower.steps) if averages else Accumulate(lower.steps)
    return lower.emit(call, op, x, lead=Lead.BATCH)[0]


def _aligned(lower: Lowering, call: Call, a: Value, b: Value) -> tuple[Value, Value]:
    """Two operands with as many axes of their own, as broadcasting aligns them."""
    rank = max(len(a.shape), len(b.shape))

    def padded(x: Value) -> Value:
        shape = (1,) * (rank - len(x.shape)) + x.shape
        return x if shape == x.shape else lower.emit(call, Reshape(shape), x, lead=x.lead)[0]

    return padded(a), padded(b)
