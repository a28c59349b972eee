"""Affine maps cost nothing: the integers stay, and mean something else."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node, Unit
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.quantize.rule import rule
from spikeloom.compiler.quantize.streams import compact
from spikeloom.compiler.quantize.walk import (
    NoIntegerFormError,
    Walk,
)


@rule(Affine)
def affine(walk: Walk, op: Affine, node: Node) -> None:
    """The unit of the value takes the factor and the offset; there is no node for it."""
    x = walk.unit(node.inputs[0])
    if (op.scale <= 0).any() and not walk.profile.rescales:
        raise NoIntegerFormError("SL0501", "a factor that is not positive follows no weights")
    walk.names[node.output] = walk.names[node.inputs[0]]
    scale = compact(np.asarray(x.scale * op.scale))
    offset = compact(np.asarray(x.offset * op.scale + op.offset))
    walk.aliases[node.output] = Unit(scale, offset)
