"""The evidence for each class: what a network has put out so far, in the model's own units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.op import Array


def added(graph: Graph, totals: Array, output: Array) -> Array:
    """The totals after another step's output: a network that sums over time itself replaces them."""
    return output if graph.answers_at_the_end else totals + output


def evidence_of(graph: Graph, totals: Array, steps: int | Array) -> NDArray[np.float64]:
    """Evidence from totals of the integer outputs after so many steps, of the same shape.

    The unit of a network's output is scale · integer + offset; an output that stands for all steps has its
    offset once, a sum of outputs once for each.
    """
    unit = graph.units[graph.outputs[0]]
    offsets = 1 if graph.answers_at_the_end else steps
    evidence: NDArray[np.float64] = totals * unit.scale + offsets * unit.offset
    return evidence
