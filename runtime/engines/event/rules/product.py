"""Products of two values: attention."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.runtime.engines.event.kernels.product import (
    masked_outer_product,
    masked_product,
    spike_outer_product,
    spike_product,
)
from spikeloom.runtime.engines.event.kernels.vector import LANES
from spikeloom.runtime.engines.event.plan import Planner
from spikeloom.runtime.engines.event.rules import Arrays, plans


@plans(MatMul)
def matmul(planner: Planner, node: Node, op: MatMul, inputs: Arrays) -> Arrays | None:
    """Rows of the second operand are added where the first is not zero.

    The result lies with the heads beside the columns, as the projection that follows it wants them.
    """
    if any(x.dtype not in (np.uint8, np.int32) for x in inputs):
        return None
    a, b = inputs
    rank = a.ndim - 2
    beside = (rank - 2, *range(rank - 2), rank - 1)
    y = planner.take(node.output, beside, np.int32)
    left, right = (_by_head(planner, x) for x in (a, b))
    spikes = planner.graph.types[node.inputs[0]].kind.bounds == (0, 1)
    result = _by_head(planner, y)
    planner.call(_kernel(left, right, result, spikes), left, right, result)
    return (y,)


def _kernel(a: Array, b: Array, y: Array, spikes: bool) -> Callable[[Array, Array, Array], None]:
    """The kernel for the order of memory, and the faster one where what it asks for is so."""
    turned = a.strides[2] < a.strides[3]
    own, listed = (a.strides[2], a.shape[2]) if turned else (a.strides[3], a.shape[3])
    straight = (own, b.strides[3], y.strides[3]) == (1, b.itemsize, y.itemsize)
    whole = listed % LANES == b.shape[3] % LANES == 0
    fast = spikes and straight and whole and b.dtype == (np.uint8 if turned else np.int32)
    if turned:
        return spike_outer_product if fast else masked_outer_product
    return spike_product if fast else masked_product


def _by_head(planner: Planner, x: Array) -> Array:
    """A view [steps * samples, heads, rows, columns], whatever the number of axes in front."""
    shape = (x.shape[0] * x.shape[1], int(np.prod(x.shape[2:-2], dtype=np.int64)), *x.shape[-2:])
    view = x.reshape(shape)
    return view if np.may_share_memory(view, x) else planner.dense(x, tuple(range(x.ndim - 2))).reshape(shape)
