"""Sums, products and scales."""

from __future__ import annotations

from numbers import Real

import numpy as np
from torch import Tensor

from spikeloom.compiler.frontends.torch.lowering import (
    Call,
    Lowering,
    NoCounterpartError,
    Operand,
    Value,
    rule,
)
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.mean import Mean
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum


def _constant(operand: object, x: Value) -> Array:
    """A number or tensor as an array that broadcasts against a sample."""
    if isinstance(operand, Real):
        return np.array(operand, np.float32)
    if not isinstance(operand, Tensor):
        raise NoCounterpartError("one operand is neither a value nor a constant")
    array: Array = operand.detach().cpu().numpy()
    rank = x.lead.axes + len(x.shape)
    padded = array.reshape((1,) * (rank - array.ndim) + array.shape)
    if any(size != 1 for size in padded.shape[: x.lead.axes]):
        raise NoCounterpartError("its constant differs over time or batch")
    return padded.reshape(padded.shape[x.lead.axes :])


@rule("add.Tensor", "add_.Tensor")
def add(lower: Lowering, call: Call) -> Operand:
    """A residual, or a constant added."""
    a, b = call.arguments["self"], call.arguments["other"]
    if call.arguments.get("alpha", 1) != 1:
        raise NoCounterpartError("it scales one operand")
    if isinstance(a, Value) and isinstance(b, Value):
        return lower.emit(call, Add(), a, b)[0]
    x, other = (a, b) if isinstance(a, Value) else (b, a)
    return lower.emit(call, Affine(np.ones((), np.float32), _constant(other, x)), x)[0]


@rule("mul.Tensor", "div.Tensor")
def scale(lower: Lowering, call: Call) -> Operand:
    """A constant factor, such as the scale of an attention."""
    a, b = call.arguments["self"], call.arguments["other"]
    divides = call.node.target.__name__.startswith("div")  # type: ignore[union-attr]
    if (isinstance(a, Value) and isinstance(b, Value)) or (divides and not isinstance(a, Value)):
        raise NoCounterpartError("both operands depend on the input")
    x, other = (a, b) if isinstance(a, Value) else (b, a)
    constant = _constant(other, x)
    factor = np.asarray(1 / constant.astype(np.float64)) if divides else constant
    (y,) = lower.emit(call, Affine(factor, np.zeros((), np.float32)), x)
    if divides:
        lower.divisors[y.name] = constant
    return y


@rule("matmul", "bmm")
def matmul(lower: Lowering, call: Call) -> Operand:
    """A product of two values."""
    a, b = (call.value(name) for name in list(call.arguments)[:2])
    return lower.emit(call, MatMul(), a, b)[0]


@rule("mean.dim", "sum.dim_IntList")
def reduce(lower: Lowering, call: Call) -> Operand:
    """A mean or sum over a sample's own axes."""
    x = call.value("self")
    dims = call.arguments["dim"]
    axes = tuple(sorted(call.own_axis(axis, x) for axis in ([dims] if isinstance(dims, int) else dims)))
    if call.arguments["keepdim"]:
        raise NoCounterpartError("it keeps the reduced axes")
    kind = Mean if call.node.target.__name__.startswith("mean") else ReduceSum  # type: ignore[union-attr]
    return lower.emit(call, kind(axes), x)[0]
