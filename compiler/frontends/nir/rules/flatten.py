"""Flatten."""

from __future__ import annotations

from math import prod

import numpy as np

from spikeloom.compiler.frontends.nir.file import NirNode
from spikeloom.compiler.frontends.nir.walk import NotExpressibleError, Walk
from spikeloom.compiler.graph.ops.reshape import Reshape


def flatten_(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """Axes start_dim to end_dim become one; NIR counts them without the batch."""
    shape = walk.shape(x)
    start, end = (
        int(np.asarray(node.parameters.get(key, default)))
        for key, default in (("start_dim", 1), ("end_dim", -1))
    )
    if not shape or not -len(shape) <= start < len(shape) or not -len(shape) <= end < len(shape):
        raise NotExpressibleError(f"flattens axes {start} to {end} of {list(shape)}")
    start, end = start % len(shape), end % len(shape)
    if start >= end:
        return x
    return walk.add(name, Reshape((*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])), x)
