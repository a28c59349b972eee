"""Affine, Conv1d, Conv2d, Linear and Scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeloom.compiler.frontends.nir.file import NirNode
from spikeloom.compiler.frontends.nir.walk import NotExpressibleError, Walk, array, numbers, per_axis
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.errors import counted


def linear(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """W x, and W x + b; a weight with more than two axes is a batch of matrices, which we do not have."""
    weight = array(node, "weight")
    if weight.ndim != 2:
        raise NotExpressibleError(f"its weight has {counted(weight.ndim, 'axis', 'axes')}")
    bias = array(node, "bias") if node.type == "Affine" else None
    return walk.add(name, Linear(weight, bias), x)


def scale(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """S * x, element by element."""
    return walk.scaled(name, x, numbers(node, "scale"), np.zeros(()))


def convolution(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """A cross-correlation over one axis or two."""
    weight = array(node, "weight")
    axes = 1 if node.type == "Conv1d" else 2
    if weight.ndim != axes + 2:
        raise NotExpressibleError(f"its weight has {counted(weight.ndim, 'axis', 'axes')}")
    stride, dilation = (per_axis(node, key, axes, 1) for key in ("stride", "dilation"))
    padding = _padding(node, weight.shape[2:], dilation)
    groups = int(np.asarray(node.parameters.get("groups", 1)))
    kind = Conv1d if axes == 1 else Conv2d
    return walk.add(name, kind(weight, array(node, "bias"), stride, padding, dilation, groups), x)


def _padding(node: NirNode, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    given: Any = node.parameters.get("padding", 0)
    if not isinstance(given, str):
        return per_axis(node, "padding", len(kernel), 0)
    if given == "valid":
        return (0,) * len(kernel)
    if given != "same":
        raise NotExpressibleError(f"there is no padding {given!r}")
    spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if any(span % 2 for span in spans):
        raise NotExpressibleError("padding «same» of an even window is not symmetric")
    return tuple(span // 2 for span in spans)
