"""Spike counts: quotients by a threshold that the data give, rounded."""

from __future__ import annotations

import math

import numpy as np

from spikeloom.compiler.frontends.torch.axes import NoCounterpartError
from spikeloom.compiler.frontends.torch.lowering import Lowering
from spikeloom.compiler.frontends.torch.operands import Operand, Value
from spikeloom.compiler.frontends.torch.rule import Call, rule
from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.clip import Clip
from spikeloom.compiler.graph.ops.count_code import MOST_LEVELS, CountCode
from spikeloom.compiler.graph.ops.divide import Divide
from spikeloom.compiler.graph.ops.elementwise import Elementwise
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.mean import Mean
from spikeloom.compiler.graph.ops.reshape import Reshape

MADE_OF = (Affine, Clip, MaxPool2d, Mean, Reshape)
"""Between magnitudes and a threshold."""


@rule("clamp", "clamp_", "clip", any_layout=True)
def clamp(lower: Lowering, call: Call) -> Operand:
    """Limits; none for counts that are within them by their nature."""
    x = call.value("self")
    lo, hi = (call.arguments.get(name) for name in ("min", "max"))
    low, high = (-math.inf if lo is None else float(lo)), (math.inf if hi is None else float(hi))
    kind = lower.builder.types[x.name].kind
    if kind.is_integer and low <= kind.bounds[0] and kind.bounds[1] <= high:
        return x
    return lower.emit(call, Clip(low, high), x, lead=x.lead)[0]


@rule("round", any_layout=True)
def rounded(lower: Lowering, call: Call) -> Operand:
    """Counts of a threshold: a quotient by the mean or the largest magnitude of what is divided."""
    quotient = call.value("self")
    divided = lower.producer(quotient)
    if not isinstance(divided.op, Divide):
        raise NoCounterpartError("it rounds something else than a quotient of two values")
    most = _most(lower, divided)
    if most is None:
        raise NoCounterpartError("what it divides by is not made of a mean or largest magnitude of the same")
    name = ".".join(part for part in (call.source.module, "spikes") if part)
    x, threshold = (
        Value(operand, quotient.lead, lower.builder.types[operand].shape, quotient.spread)
        for operand in divided.inputs
    )
    op = CountCode(min(MOST_LEVELS, most))
    return lower.emit(call, op, x, threshold, name=name, lead=quotient.lead)[0]


def _most(lower: Lowering, divided: Node) -> int | None:
    """The largest count: x / (scale mean|x|) is at most n / scale, x / (scale max|x|) at most 1 / scale."""
    producers = lower.builder.build().producers
    among, scale = 1, 1.0
    node = producers.get(divided.inputs[1])
    while node is not None and isinstance(node.op, MADE_OF):
        before = lower.builder.types[node.inputs[0]].shape
        if isinstance(node.op, Affine):
            if node.op.scale.size != 1 or np.any(node.op.offset != 0):
                return None
            scale *= float(node.op.scale.reshape(()))
        elif isinstance(node.op, Mean):
            among *= math.prod(before[axis] for axis in node.op.axes)
        elif isinstance(node.op, MaxPool2d) and node.op.kernel != (1, before[-1]):
            return None
        node = producers.get(node.inputs[0])
    if node is None or not isinstance(node.op, Elementwise) or node.op.function != "abs" or scale <= 0:
        return None
    return math.ceil(among / scale - 0.5) if node.inputs[0] == divided.inputs[0] else None
