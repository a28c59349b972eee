"""What mixes time steps."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node, Unit
from spikeloom.compiler.graph.op import Op
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.linear_state import LinearState
from spikeloom.compiler.graph.ops.step_affine import StepAffine
from spikeloom.compiler.graph.ops.step_rescale import StepRescale
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.graph.ops.time_mean import TimeMean
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.quantize.rule import rule
from spikeloom.compiler.quantize.streams import HEADROOM, compact, rescaling
from spikeloom.compiler.quantize.walk import (
    NoIntegerFormError,
    Walk,
)

MEMORY_BITS = 20
"""The matrix of a linear memory: rounding errors come back at each step."""


@rule(TimeMean)
def time_mean(walk: Walk, op: TimeMean, node: Node) -> None:
    """The sum; its unit is divided."""
    total = Accumulate(op.steps)
    name, x = _summable(walk, node, total)
    walk.append(node, total, [name], Unit(x.scale / op.steps, x.offset))


@rule(Accumulate)
def accumulate(walk: Walk, op: Accumulate, node: Node) -> None:
    """The sum, with the offset as often as there are steps."""
    name, x = _summable(walk, node, op)
    walk.append(node, op, [name], Unit(x.scale, x.offset * op.horizon))


def _summable(walk: Walk, node: Node, op: Op) -> tuple[str, Unit]:
    """An operand, narrowed where its sum over time would overflow and the target can rescale."""
    name = walk.names[node.inputs[0]]
    if walk.profile.rescales and walk.overflows(op, name):
        return walk.ranged(node, node.inputs[0])
    return name, walk.unit(node.inputs[0])


@rule(LeakySum)
def leaky_sum(walk: Walk, op: LeakySum, node: Node) -> None:
    """The decay on the target's grid, in fractions of the input's unit."""
    step = DECAY_ONE >> walk.profile.decay_bits
    keep = round(op.keep * DECAY_ONE / step) * step
    x = walk.unit(node.inputs[0])
    attempts = [(walk.names[node.inputs[0]], x)]
    if walk.profile.rescales:
        attempts.append(walk.streamed(node, node.inputs[0]))
    added = np.zeros(()) if op.bias is None else op.bias
    for name, x in attempts:
        scale = x.scale / 2**walk.profile.fraction_bits
        bias = np.asarray(np.rint((x.offset + added) / scale).astype(np.int64))
        total = LeakySum(keep, bias if bias.any() else None, walk.profile.fraction_bits, op.each_step)
        if not (fault := walk.overflows(total, name)):
            walk.append(node, total, [name], Unit(scale, np.zeros(())))
            return
    raise NoIntegerFormError("SL0503", fault)


@rule(LinearState)
def linear_state(walk: Walk, op: LinearState, node: Node) -> None:
    """Matrix and gain in fixed point."""
    if not walk.profile.hosts:
        raise NoIntegerFormError(
            "SL0501", "a linear memory needs wide products", "compile for the target onnx"
        )
    x = walk.unit(node.inputs[0])
    limit = walk.profile.stream_limit
    unit = HEADROOM * (walk.activity.peaks[node.output] or 1.0) / limit
    shift = MEMORY_BITS - int(np.ceil(np.log2(max(float(np.abs(op.matrix).max()), 2.0**-8))))
    one = 2.0**shift
    matrix, gain, bias = (
        np.asarray(np.rint(real * one).astype(np.int64))
        for real in (op.matrix, op.gain * x.scale / unit, op.gain * x.offset / unit)
    )
    memory = LinearState(matrix, gain, bias if bias.any() else None, shift, limit)
    if fault := walk.overflows(memory, walk.names[node.inputs[0]]):
        raise NoIntegerFormError("SL0503", fault)
    walk.add(node, memory, Unit(np.array(unit), np.zeros(())))


@rule(StepAffine)
def step_affine(walk: Walk, op: StepAffine, node: Node) -> None:
    """A factor and an offset of its own at each step, into one unit."""
    if not walk.profile.hosts:
        raise NoIntegerFormError(
            "SL0502", "needs a unit of its own at each time step", "compile for the target onnx"
        )
    x, limit = walk.unit(node.inputs[0]), walk.profile.stream_limit
    scale = np.stack([of_step * x.scale for of_step in op.scale])
    offset = np.stack([a * x.offset + b for a, b in zip(op.scale, op.offset, strict=True)])
    peak = walk.activity.peaks[node.output] or 1.0
    one, unit = rescaling(Unit(scale, offset), HEADROOM * peak / limit, limit)
    added = np.zeros(len(op.scale), np.int64) if one.offset is None else one.offset
    each = StepRescale(one.factor, one.shift, one.lo, one.hi, added)
    if fault := walk.overflows(each, walk.names[node.inputs[0]]):
        raise NoIntegerFormError("SL0503", fault)
    walk.add(node, each, Unit(np.array(unit), np.zeros(())))


@rule(Delay, TimeGate, TimeWindow)
def later(walk: Walk, op: Delay | TimeGate | TimeWindow, node: Node) -> None:
    """What has not arrived, or stands for no time, is 0.0; so 0 must stand for that."""
    name, x = walk.names[node.inputs[0]], walk.unit(node.inputs[0])
    if np.any(x.offset != 0):
        name, x = walk.streamed(node, node.inputs[0])
    scale = x.scale
    if scale.size != 1 and isinstance(op, TimeWindow):
        full = np.broadcast_to(scale, walk.graph.types[node.inputs[0]].shape)
        scale = compact(np.concatenate([full] * op.size, op.axis))
    walk.append(node, op, [name], Unit(scale, np.zeros(())))
