"""Sums of two values: in one unit, within the range of their stream."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node, Unit
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.quantize.rule import rule
from spikeloom.compiler.quantize.walk import (
    Walk,
)


@rule(Add)
def add(walk: Walk, op: Add, node: Node) -> None:
    """Both values in one unit, which the stream gives where theirs differ."""
    a, b = (walk.unit(name) for name in node.inputs)
    names = [walk.names[name] for name in node.inputs]
    alike = bool((np.subtract(a.scale, b.scale) == 0).all())
    if walk.settled and not (alike and _holds_sum(walk, node, names, a)):
        (names[0], a), (names[1], b) = (walk.streamed(node, name) for name in node.inputs)
        if a.scale != b.scale:
            coarser = max(float(a.scale), float(b.scale))
            limit = walk.profile.stream_limit
            (names[0], a), (names[1], b) = (walk.rescaled(node, name, coarser, limit) for name in node.inputs)
    walk.append(node, op, names, Unit(a.scale, a.offset + b.offset))
    _clip(walk, node)


def _holds_sum(walk: Walk, node: Node, names: list[str], unit: Unit) -> bool:
    """Whether a sum of values of one unit needs no clip, or a clip leaves what was seen of it."""
    reach = sum(max(map(abs, walk.builder.types[name].kind.bounds)) for name in names)
    seen = walk.activity.peaks.get(node.output, 0.0) / np.abs(unit.scale).min()
    free = not walk.profile.rescales or reach <= walk.profile.largest_current
    return free or bool(seen <= walk.profile.stream_limit)


def _clip(walk: Walk, node: Node) -> None:
    """Keep a sum within the range of its stream where neurons that read it could overflow otherwise."""
    name, limit = walk.names[node.output], walk.profile.stream_limit
    reach = max(map(abs, walk.builder.types[name].kind.bounds))
    if not walk.profile.rescales or reach <= walk.profile.largest_current:
        return
    unit = walk.unit(node.output)
    clipped = Rescale(np.ones((), np.int32), 0, -limit, limit)
    (own,) = walk.builder.add(f"{name}.clipped", clipped, name, source=node.source)
    walk.names[node.output] = own
    walk.units[own] = walk.aliases[node.output] = unit
