"""Sums, masks, pools and rescaling, in NumPy where that is as fast as memory."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.runtime.engines.event.kernels.rescale import rescale as rescale_kernel
from spikeloom.runtime.engines.event.memory import LEAD, arranged, memory_axes, split_rows, spread
from spikeloom.runtime.engines.event.plan import Planner
from spikeloom.runtime.engines.event.rules import Arrays, plans


@plans(Add)
def add(planner: Planner, node: Node, op: Add, inputs: Arrays) -> Arrays:
    """In the order of memory of the larger operand."""
    return (_pairwise(planner, node, np.add, inputs),)


@plans(Mul)
def mul(planner: Planner, node: Node, op: Mul, inputs: Arrays) -> Arrays:
    """As an addition."""
    return (_pairwise(planner, node, np.multiply, inputs),)


def _pairwise(planner: Planner, node: Node, compute: np.ufunc, inputs: Arrays) -> Array:
    y = planner.take(node.output, memory_axes(max(inputs, key=lambda x: x.size)))
    planner.calls.append(lambda moment: compute(*inputs, out=y, dtype=y.dtype, casting="unsafe"))
    return y


@plans(ReduceSum)
def reduce_sum(planner: Planner, node: Node, op: ReduceSum, inputs: Arrays) -> Arrays:
    """What is left keeps its order of memory."""
    (x,) = inputs
    kept = [axis for axis in range(x.ndim - LEAD) if axis not in op.axes]
    y = planner.take(node.output, tuple(kept.index(axis) for axis in memory_axes(x) if axis in kept))
    axes = tuple(LEAD + axis for axis in op.axes)
    planner.calls.append(lambda moment: np.sum(x, axes, dtype=y.dtype, out=y))
    return (y,)


@plans(Rescale)
def rescale(planner: Planner, node: Node, op: Rescale, inputs: Arrays) -> Arrays | None:
    """One pass."""
    if inputs[0].dtype not in (np.uint8, np.int32):
        return None
    x = planner.dense(inputs[0])
    axes, shape = memory_axes(x), x.shape[LEAD:]
    offset = np.zeros((), np.int64) if op.offset is None else op.offset
    padded = [
        array.reshape((1,) * (len(shape) - array.ndim) + array.shape).transpose(axes)
        for array in (op.factor, offset)
    ]
    rows, columns = split_rows(arranged(x, axes).shape[LEAD:], *padded)
    factor, added = (spread(array, shape, axes, columns).astype(np.int64) for array in (op.factor, offset))
    y = planner.take(node.output, axes, np.int32)
    flat = (planner.steps * planner.samples, rows, columns)
    ends = (arranged(x, axes).reshape(flat), arranged(y, axes).reshape(flat))
    planner.call(rescale_kernel, ends[0], factor, added, op.half, op.shift, op.lo, op.hi, ends[1])
    return (y,)


@plans(MaxPool2d)
def max_pool2d(planner: Planner, node: Node, op: MaxPool2d, inputs: Arrays) -> Arrays | None:
    """The largest of shifted views, first along the height and then along the width; channels last."""
    if inputs[0].dtype not in (np.uint8, np.int32):
        return None
    axes = (1, 2, 0)
    x = arranged(inputs[0], axes)
    y = planner.take(node.output, axes, x.dtype)
    place = x
    if any(op.padding):
        shape = (
            *x.shape[:2],
            *(n + 2 * p for n, p in zip(x.shape[2:4], op.padding, strict=True)),
            x.shape[4],
        )
        place = planner.scratch(shape, x.dtype)
        planner.call(_pad, x, op.padding, place)
    tall = planner.scratch((*place.shape[:2], y.shape[3], *place.shape[3:]), x.dtype)
    planner.call(_largest, place, 2, op.kernel[0], op.stride[0], tall)
    planner.call(_largest, tall, 3, op.kernel[1], op.stride[1], arranged(y, axes))
    return (y,)


def _pad(x: Array, padding: tuple[int, ...], y: Array) -> None:
    """What never wins around x: every window holds something of x itself."""
    (top, left), (height, width) = padding, x.shape[2:4]
    y.fill(np.iinfo(y.dtype).min)
    np.copyto(y[:, :, top : top + height, left : left + width], x)


def _largest(x: Array, axis: int, kernel: int, stride: int, y: Array) -> None:
    before = (slice(None),) * axis
    taps = [x[(*before, slice(tap, tap + (y.shape[axis] - 1) * stride + 1, stride))] for tap in range(kernel)]
    np.copyto(y, taps[0])
    for tap in taps[1:]:
        np.maximum(y, tap, out=y)
