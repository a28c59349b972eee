"""Input and Output."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.frontends.nir.file import NirNode
from spikeloom.compiler.frontends.nir.walk import NotExpressibleError, Walk, array
from spikeloom.compiler.graph.kinds import Type


def input_(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """The input of the network; that of a graph within it passes on what it is given."""
    if x:
        return x
    if walk.builder.types:
        raise NotExpressibleError("is a second input")
    shape = tuple(int(size) for size in np.atleast_1d(array(node, "shape")))
    return walk.builder.input(name, Type(shape, walk.kind))


def output(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """An output; what it is called is not kept."""
    return x
