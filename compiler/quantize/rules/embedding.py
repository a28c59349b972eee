"""Rows picked by an index."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node, Unit
from spikeloom.compiler.graph.ops.embedding import Embedding
from spikeloom.compiler.quantize.rule import rule
from spikeloom.compiler.quantize.walk import (
    MAX_RANGE,
    NoIntegerFormError,
    Walk,
)


@rule(Embedding)
def embedding(walk: Walk, op: Embedding, node: Node) -> None:
    """Rows of spikes are exact; others get 16 bits."""
    if not walk.profile.hosts:
        raise NoIntegerFormError(
            "SL0501",
            "looks tokens up in a table, and a chip takes spikes and not tokens",
            "compile for the target onnx",
        )
    name, x = walk.names[node.inputs[0]], walk.unit(node.inputs[0])
    if np.any(x.scale != 1) or np.any(x.offset != 0):
        raise NoIntegerFormError("SL0501", "picks rows by something else than whole numbers")
    binary = bool(np.isin(op.weight, (0, 1)).all())
    unit = 1.0 if binary else float(np.abs(op.weight).max() or 1.0) / MAX_RANGE
    if binary:
        rows = op.weight.astype(np.uint8)
    else:
        rows = np.rint(op.weight.astype(np.float64) / unit).astype(np.int16)
    walk.append(node, Embedding(rows), [name], Unit(np.array(unit), np.zeros(())))
