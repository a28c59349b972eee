"""Products of two values, as in attention."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node, Unit
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.quantize.rule import rule
from spikeloom.compiler.quantize.walk import (
    Walk,
)


@rule(MatMul)
def matmul(walk: Walk, op: MatMul, node: Node) -> None:
    """A product of integers; factors have scalar units and no offset."""
    (first, a), (second, b) = walk.narrow_operands(node, op, [walk.factor(node, n) for n in node.inputs])
    walk.append(node, op, [first, second], Unit(a.scale * b.scale, np.zeros(())))


@rule(Mul)
def mul(walk: Walk, op: Mul, node: Node) -> None:
    """The same, element by element; where no factor has an offset, scales may vary."""
    operands = [(walk.names[name], walk.unit(name)) for name in node.inputs]
    if any(np.any(unit.offset != 0) for _, unit in operands):
        operands = [walk.factor(node, name) for name in node.inputs]
    (first, a), (second, b) = walk.narrow_operands(node, op, operands)
    walk.append(node, op, [first, second], Unit(a.scale * b.scale, np.zeros(())))
