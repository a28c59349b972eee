"""Largest values and sums over axes."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node, Unit
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.quantize.rule import rule
from spikeloom.compiler.quantize.streams import compact
from spikeloom.compiler.quantize.walk import (
    NoIntegerFormError,
    Walk,
)


@rule(MaxPool2d)
def max_pool(walk: Walk, op: MaxPool2d, node: Node) -> None:
    """Integers compare as values do, where a channel has one positive scale."""
    name, unit = walk.names[node.inputs[0]], walk.unit(node.inputs[0])
    arrays = [np.reshape(a, (1,) * (3 - a.ndim) + a.shape) for a in (unit.scale, unit.offset)]
    varies = any(size != 1 for array in arrays for size in array.shape[-2:])
    if varies or (unit.scale <= 0).any():
        if not walk.profile.rescales:
            raise NoIntegerFormError("SL0502", "pools values whose scale differs within a channel")
        name, unit = walk.streamed(node, node.inputs[0])
    walk.append(node, op, [name], unit)


@rule(ReduceSum)
def reduce_sum(walk: Walk, op: ReduceSum, node: Node) -> None:
    """A sum of integers, where what is summed has one scale."""
    name, unit = walk.names[node.inputs[0]], walk.unit(node.inputs[0])
    shape = walk.graph.types[node.inputs[0]].shape
    scale = np.reshape(unit.scale, (1,) * (len(shape) - unit.scale.ndim) + unit.scale.shape)
    if unit.scale.size != 1 and any(scale.shape[axis] != 1 for axis in op.axes):
        if not walk.profile.rescales:
            raise NoIntegerFormError("SL0502", "sums values of different scales")
        name, unit = walk.streamed(node, node.inputs[0])
        scale = np.reshape(unit.scale, (1,) * len(shape))
    if walk.profile.rescales and walk.overflows(op, name):
        name, unit = walk.ranged(node, node.inputs[0])
        scale = np.reshape(unit.scale, (1,) * len(shape))
    offset = compact(np.broadcast_to(unit.offset, shape).sum(op.axes))
    kept = [axis for axis in range(len(shape)) if axis not in op.axes]
    left = scale.reshape(()) if scale.size == 1 else scale.reshape([scale.shape[axis] for axis in kept])
    walk.append(node, op, [name], Unit(left, offset))
