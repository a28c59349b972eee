"""Operations that move numbers, or none: views where there can be one."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.slice import Slice
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.runtime.engines.event.memory import LEAD, memory_axes
from spikeloom.runtime.engines.event.plan import Planner
from spikeloom.runtime.engines.event.rules import Arrays, plans


@plans(Transpose)
def transpose(planner: Planner, node: Node, op: Transpose, inputs: Arrays) -> Arrays:
    """A view."""
    return (inputs[0].transpose(0, 1, *(LEAD + axis for axis in op.order)),)


@plans(Reshape)
def reshape(planner: Planner, node: Node, op: Reshape, inputs: Arrays) -> Arrays:
    """A view where the axes that are joined lie together, else a copy in the graph's order."""
    (x,) = inputs
    shape = (planner.steps, planner.samples, *op.shape)
    if np.may_share_memory(x.reshape(shape), x):
        return (x.reshape(shape),)
    return (planner.dense(x, tuple(range(x.ndim - LEAD))).reshape(shape),)


@plans(Slice)
def slice_(planner: Planner, node: Node, op: Slice, inputs: Arrays) -> Arrays:
    """A view."""
    return (_part(inputs[0], op.axis, slice(op.start, op.stop, op.step)),)


@plans(Split)
def split(planner: Planner, node: Node, op: Split, inputs: Arrays) -> Arrays:
    """Views."""
    ends = list(accumulate(op.sizes))
    starts = [end - size for end, size in zip(ends, op.sizes, strict=True)]
    return tuple(
        _part(inputs[0], op.axis, slice(start, end)) for start, end in zip(starts, ends, strict=True)
    )


@plans(Broadcast)
def broadcast(planner: Planner, node: Node, op: Broadcast, inputs: Arrays) -> Arrays:
    """A view that repeats."""
    return (np.broadcast_to(inputs[0], (planner.steps, planner.samples, *op.shape)),)


@plans(Concat)
def concat(planner: Planner, node: Node, op: Concat, inputs: Arrays) -> Arrays:
    """Each input is copied to its place, in the order of memory of the first."""
    y = planner.take(node.output, memory_axes(inputs[0]))
    start = 0
    for x in inputs:
        end = start + x.shape[LEAD + op.axis]
        planner.call(np.copyto, _part(y, op.axis, slice(start, end)), x)
        start = end
    return (y,)


def _part(x: Array, axis: int, where: slice) -> Array:
    return x[(slice(None),) * (LEAD + axis) + (where,)]
