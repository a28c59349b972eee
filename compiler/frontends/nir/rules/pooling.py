"""AvgPool2d and SumPool2d."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.frontends.nir.file import NirNode
from spikeloom.compiler.frontends.nir.walk import Walk, per_axis
from spikeloom.compiler.graph.ops.avg_pool2d import AvgPool2d
from spikeloom.compiler.graph.ops.conv2d import Conv2d


def pool(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """The mean or the sum of a window."""
    kernel = per_axis(node, "kernel_size", 2, 1)
    geometry = (kernel, per_axis(node, "stride", 2, 1), per_axis(node, "padding", 2, 0))
    if node.type == "AvgPool2d":
        return walk.add(name, AvgPool2d(*geometry), x)
    channels = walk.shape(x)[0]
    ones = np.ones((channels, 1, *kernel))
    return walk.add(name, Conv2d(ones, None, geometry[1], geometry[2], (1, 1), channels), x)
