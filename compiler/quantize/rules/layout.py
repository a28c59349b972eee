"""What moves values and changes none."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node, Unit
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.slice import Slice
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.graph.ops.upsample2d import Upsample2d
from spikeloom.compiler.quantize.rule import rule
from spikeloom.compiler.quantize.streams import compact
from spikeloom.compiler.quantize.walk import (
    NoIntegerFormError,
    Walk,
)


@rule(Pad)
def pad(walk: Walk, op: Pad, node: Node) -> None:
    """Zeros on the outside, which must stand for 0.0."""
    if op.value != 0:
        raise NoIntegerFormError("SL0501", f"pads with {op.value}")
    x = walk.unit(node.inputs[0])
    rank = len(op.before)
    full = np.reshape(x.scale, (1,) * (rank - x.scale.ndim) + x.scale.shape)
    widths = [
        (b, a) if size > 1 else (0, 0) for b, a, size in zip(op.before, op.after, full.shape, strict=True)
    ]
    scale = np.pad(full, widths, mode="edge")
    offset = np.zeros(())
    if np.any(x.offset != 0):
        shape = walk.graph.types[node.inputs[0]].shape
        offset = compact(op.evaluate(np.broadcast_to(x.offset, shape)[None])[0][0])
    walk.add(node, op, Unit(compact(scale), offset))


@rule(Broadcast, Reshape, Slice, Transpose, Split, Upsample2d)
def moves(walk: Walk, op: Op, node: Node) -> None:
    """The same operation on the integers, on their scales and on their offsets."""
    _moved(walk, node, op, [(walk.names[name], walk.unit(name)) for name in node.inputs])


@rule(Concat)
def concat(walk: Walk, op: Concat, node: Node) -> None:
    """The same, where every part has a scale of its own or a common one."""
    operands = [(walk.names[name], walk.unit(name)) for name in node.inputs]
    scales = {float(unit.scale.reshape(-1)[0]) for _, unit in operands}
    if len(scales) > 1 and all(unit.scale.size == 1 for _, unit in operands) and walk.profile.rescales:
        operands = [walk.streamed(node, name) for name in node.inputs]
    _moved(walk, node, op, operands)


def _moved(walk: Walk, node: Node, op: Op, operands: list[tuple[str, Unit]]) -> None:
    units = [unit for _, unit in operands]
    if (
        all(unit.scale.size == unit.offset.size == 1 for unit in units)
        and len({_pair(u) for u in units}) == 1
    ):
        moved = [units[0]] * len(node.outputs)
    else:
        shapes = [walk.graph.types[name].shape for name in node.inputs]
        scales = op.evaluate(*(_full(u.scale, s) for u, s in zip(units, shapes, strict=True)))
        offsets = op.evaluate(*(_full(u.offset, s) for u, s in zip(units, shapes, strict=True)))
        moved = [
            Unit(compact(scale[0]), compact(offset[0])) for scale, offset in zip(scales, offsets, strict=True)
        ]
    walk.append(node, op, [name for name, _ in operands], *moved)


def _pair(unit: Unit) -> tuple[float, float]:
    return float(unit.scale.reshape(())), float(unit.offset.reshape(()))


def _full(array: Array, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(array, shape)[None]
