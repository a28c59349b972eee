"""Integer forms of what is not spike-driven: gates, normalisations, softmax, quotients.

Real numbers are brought to a fixed point and computed with integers alone: tables of 2**13 entries for
functions, whole roots and quotients for the rest. So they are exact on every engine, as all else is.
"""

from __future__ import annotations

from functools import wraps

import numpy as np

from spikeloom.compiler.graph.graph import Node, Unit
from spikeloom.compiler.graph.op import Op
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.clip import Clip
from spikeloom.compiler.graph.ops.count_code import CountCode
from spikeloom.compiler.graph.ops.divide import Divide
from spikeloom.compiler.graph.ops.elementwise import FUNCTIONS, Elementwise
from spikeloom.compiler.graph.ops.gated_state import GatedState
from spikeloom.compiler.graph.ops.integer_key_value import SHARE_BITS, IntegerKeyValue
from spikeloom.compiler.graph.ops.integer_norm import IntegerNorm
from spikeloom.compiler.graph.ops.layer_norm import LayerNorm
from spikeloom.compiler.graph.ops.lookup import Lookup
from spikeloom.compiler.graph.ops.reduce_max import ReduceMax
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.softmax import Softmax
from spikeloom.compiler.graph.ops.step_rescale import StepRescale
from spikeloom.compiler.graph.ops.weighted_key_value import WeightedKeyValue
from spikeloom.compiler.graph.ops.window_softmax import WindowSoftmax, arrived
from spikeloom.compiler.quantize.rule import Rule, rule
from spikeloom.compiler.quantize.walk import NoIntegerFormError, Walk

TABLE_LIMIT = 2**12 - 1
"""A table has an entry for each integer from -TABLE_LIMIT to TABLE_LIMIT."""
VALUE_LIMIT = 2**15 - 1
HEADROOM = 1.25
"""How far beyond the calibrated range a fixed-point number reaches."""
EXPONENT_RANGE = 16.0
"""Exponentials below exp(-16) of the largest are nothing."""
NORM_DIGITS = 12
THRESHOLD_LIMIT = 2**18
GATE_BITS = 14
STATE_BITS = 17
"""A gated memory: rounding errors come back at each step."""


def _by_a_host(function: Rule) -> Rule:
    """What no spike drives: only where the target has a host for it."""

    @wraps(function)
    def checked(walk: Walk, op: Op, node: Node) -> None:
        if not walk.profile.hosts:
            raise NoIntegerFormError("SL0501", "is not spike-driven", "compile for the target onnx")
        function(walk, op, node)

    return checked


@rule(Elementwise)
@_by_a_host
def elementwise(walk: Walk, op: Elementwise, node: Node) -> None:
    """A table of the function; what is linear on either side of zero is clipped instead."""
    (source,) = node.inputs
    peak = HEADROOM * (walk.activity.peaks[source] or 1.0)
    if op.function == "relu":
        name, x = walk.rescaled(node, source, peak / VALUE_LIMIT, VALUE_LIMIT)
        walk.append(node, Rescale(np.array(1), 0, 0, VALUE_LIMIT), [name], x)
        return
    if op.function == "abs":
        name, x = walk.rescaled(node, source, peak / VALUE_LIMIT, VALUE_LIMIT)
        parts = [
            walk.builder.add(f"{node.name}.{side}", Rescale(np.array(sign), 0, 0, VALUE_LIMIT), name)[0]
            for side, sign in (("above", 1), ("below", -1))
        ]
        walk.append(node, Add(), parts, x)
        return
    name, x = walk.rescaled(node, source, peak / TABLE_LIMIT, TABLE_LIMIT)
    grid = np.arange(-TABLE_LIMIT, TABLE_LIMIT + 1)
    values = FUNCTIONS[op.function](grid * float(x.scale))
    unit = max(float(np.abs(values).max()), 1e-30) / VALUE_LIMIT
    walk.append(node, Lookup(-TABLE_LIMIT, np.rint(values / unit).astype(np.int32)), [name], _unit(unit))


@rule(Divide)
@_by_a_host
def divide(walk: Walk, op: Divide, node: Node) -> None:
    """A quotient of whole numbers; the divisor is positive, as in every model that divides by a value."""
    (first, a), (second, b) = (
        walk.rescaled(node, name, HEADROOM * (walk.activity.peaks[name] or 1.0) / VALUE_LIMIT, VALUE_LIMIT)
        for name in node.inputs
    )
    peak = HEADROOM * (walk.activity.peaks[node.output] or 1.0)
    ratio = float(a.scale / b.scale)
    shift = max(0, min(30, int(np.floor(np.log2(ratio * VALUE_LIMIT / peak)))))
    walk.append(node, Divide(shift, VALUE_LIMIT), [first, second], _unit(ratio / 2**shift))


@rule(LayerNorm)
@_by_a_host
def layer_norm(walk: Walk, op: LayerNorm, node: Node) -> None:
    """Whole means, roots and quotients; gain and bias are part of the unit."""
    (source,) = node.inputs
    peak = HEADROOM * (walk.activity.peaks[source] or 1.0)
    name, x = walk.rescaled(node, source, peak / VALUE_LIMIT, VALUE_LIMIT)
    n = walk.graph.types[source].shape[-1]
    added = max(1, int(np.rint(op.epsilon * n / float(x.scale) ** 2)))
    bias = np.zeros(()) if op.bias is None else op.bias.astype(np.float64)
    unit = Unit(op.gain.astype(np.float64) / 2**NORM_DIGITS, bias)
    walk.append(node, IntegerNorm(NORM_DIGITS, min(added, 2**40), op.centred), [name], unit)


Masks = tuple[Op, Op] | None
"""What brings that which is not seen to the lowest number, and what its exponential to zero."""


@rule(Softmax)
@_by_a_host
def softmax(walk: Walk, op: Softmax, node: Node) -> None:
    """What a mask takes away is the same at every step."""
    masks: Masks = None
    if op.kept is not None:
        kept = op.kept.astype(np.int64)
        lowest = (kept - 1) * VALUE_LIMIT
        hidden = Rescale(kept, 0, -VALUE_LIMIT, VALUE_LIMIT, lowest)
        masks = (hidden, Rescale(kept, 0, 0, VALUE_LIMIT))
    _shares(walk, op.axis, node, masks)


@rule(WindowSoftmax)
@_by_a_host
def window_softmax(walk: Walk, op: WindowSoftmax, node: Node) -> None:
    """What has not arrived is taken away; after a full window, nothing."""
    shape = walk.graph.types[node.inputs[0]].shape
    kept = arrived(shape[op.axis], len(shape), op.axis).astype(np.int64)
    lowest = (kept - 1) * VALUE_LIMIT
    hidden = StepRescale(kept, 0, -VALUE_LIMIT, VALUE_LIMIT, lowest)
    _shares(walk, op.axis, node, (hidden, StepRescale(kept, 0, 0, VALUE_LIMIT, np.zeros_like(kept))))


def _shares(walk: Walk, axis: int, node: Node, masks: Masks) -> None:
    """The largest, a table of exponentials of the distance from it, their sum and a quotient."""
    (source,) = node.inputs
    unit = EXPONENT_RANGE / TABLE_LIMIT
    name, x = walk.rescaled(node, source, unit, VALUE_LIMIT)

    def add(what: str, step: Op, *inputs: str) -> str:
        return walk.builder.add(f"{node.name}.{what}", step, *inputs, source=node.source)[0]

    if masks is not None:
        name = add("kept", masks[0], name)
    largest = add("largest", ReduceMax(axis), name)
    below = add(
        "below", Add(), name, add("minus", Rescale(np.array(-1), 0, -VALUE_LIMIT, VALUE_LIMIT), largest)
    )
    table = np.rint(np.exp(np.arange(-TABLE_LIMIT, 1) * float(x.scale)) * VALUE_LIMIT).astype(np.int32)
    powers = add("powers", Lookup(-TABLE_LIMIT, table), below)
    if masks is not None:
        powers = add("shown", masks[1], powers)
    shape = walk.graph.types[source].shape
    total = add("total", ReduceSum((axis,)), powers)
    column = add("column", Reshape(tuple(1 if i == axis else s for i, s in enumerate(shape))), total)
    digits = VALUE_LIMIT.bit_length() - 1
    walk.append(node, Divide(digits, 2**digits), [powers, column], _unit(2.0**-digits))


@rule(Clip)
@_by_a_host
def clip(walk: Walk, op: Clip, node: Node) -> None:
    """Limits in the unit of the value."""
    (source,) = node.inputs
    peak = HEADROOM * (walk.activity.peaks[source] or 1.0)
    name, x = walk.rescaled(node, source, peak / VALUE_LIMIT, VALUE_LIMIT)
    ends = np.array([op.lo, op.hi]) / float(x.scale)
    low, high = (int(np.rint(end)) for end in np.clip(ends, -VALUE_LIMIT, VALUE_LIMIT))
    walk.append(node, Rescale(np.array(1), 0, low, high), [name], x)


@rule(CountCode)
@_by_a_host
def count_code(walk: Walk, op: CountCode, node: Node) -> None:
    """A quotient of whole numbers; the unit of the threshold is finer by as many digits as fit."""
    (first, second), peaks = node.inputs, walk.activity.peaks
    name, x = walk.rescaled(node, first, HEADROOM * (peaks[first] or 1.0) / VALUE_LIMIT, VALUE_LIMIT)
    room = THRESHOLD_LIMIT * float(x.scale) / (HEADROOM * (peaks[second] or 1.0))
    shift = max(0, min(8, int(np.floor(np.log2(room)))))
    threshold, unit = walk.rescaled(node, second, float(x.scale) / 2**shift, THRESHOLD_LIMIT)
    if float(unit.scale) != float(x.scale) / 2**shift:
        raise NoIntegerFormError("SL0502", "has a threshold whose unit is too coarse")
    walk.append(node, CountCode(op.levels, shift), [name, threshold], _unit(1.0))


@rule(WeightedKeyValue)
@_by_a_host
def weighted_key_value(walk: Walk, op: WeightedKeyValue, node: Node) -> None:
    """A mean and the logarithm of its weight, with tables of shares and growths."""
    key, value = node.inputs
    unit = EXPONENT_RANGE / TABLE_LIMIT
    k_name, k = walk.rescaled(node, key, unit, 2**18)
    peak = HEADROOM * (walk.activity.peaks[value] or 1.0)
    v_name, v = walk.rescaled(node, value, peak / VALUE_LIMIT, VALUE_LIMIT)
    step = float(k.scale)
    decay, bonus = (np.rint(array / step).astype(np.int64) for array in (op.decay, op.bonus))
    distance = np.arange(-TABLE_LIMIT, TABLE_LIMIT + 1) * step
    share = np.rint(2.0**SHARE_BITS / (1 + np.exp(-distance))).astype(np.int64)
    growth = np.rint(np.log1p(np.exp(-np.arange(TABLE_LIMIT + 1) * step)) / step).astype(np.int64)
    walk.append(node, IntegerKeyValue(decay, bonus, share, growth), [k_name, v_name], v)


@rule(GatedState)
@_by_a_host
def gated_state(walk: Walk, op: GatedState, node: Node) -> None:
    """Gates of GATE_BITS binary digits; what is added has the unit of the memory, which has STATE_BITS."""
    gate, x = node.inputs
    gates, _ = walk.rescaled(node, gate, 2.0**-GATE_BITS, 2**GATE_BITS)
    peak = max(walk.activity.peaks[node.output], walk.activity.peaks[x]) or 1.0
    limit = 2**STATE_BITS - 1
    name, unit = walk.rescaled(node, x, HEADROOM * peak / limit, limit)
    walk.append(node, GatedState(GATE_BITS, limit), [gates, name], unit)


def _unit(scale: float) -> Unit:
    return Unit(np.array(scale), np.zeros(()))
