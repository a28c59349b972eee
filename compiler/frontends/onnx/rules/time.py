"""Means and sums over time, as a rolled-up network has them."""

from __future__ import annotations

from spikeloom.compiler.frontends.onnx.file import OnnxNode
from spikeloom.compiler.frontends.onnx.walk import Walk
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.time_mean import TimeMean


def mean(walk: Walk, node: OnnxNode) -> str:
    """The mean over all time steps, right at the last."""
    return walk.add(node, TimeMean(node.attributes["steps"]), walk.input(node))


def total(walk: Walk, node: OnnxNode) -> str:
    """The sum over all time steps, right at the last."""
    return walk.add(node, Accumulate(node.attributes["steps"]), walk.input(node))
