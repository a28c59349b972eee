"""Common units: which values must count in the same unit, and how values are brought to one.

Values that meet in an addition must have one unit. Spikes have (a spike is 1); membranes, currents and
layers of different weights have not. All values that additions join are a *stream*, such as the
residual path of a transformer; where units differ in a stream, each operand is rescaled to the unit of
the stream, which spans the largest magnitude seen in calibration twice over.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from networkx.utils import UnionFind

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, Unit
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.rescale import LARGEST_FACTOR, Rescale
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.slice import Slice
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.graph.ops.upsample2d import Upsample2d

MOVES = (Concat, Delay, MaxPool2d, Reshape, Slice, Split, TimeGate, TimeWindow, Transpose, Upsample2d)
HEADROOM = 2.0


def stream_units(graph: Graph, peaks: Mapping[str, float], limit: int) -> dict[str, float]:
    """The unit of the stream that each value belongs to: what an integer of it would stand for.

    Args:
        graph: a float graph.
        peaks: the largest magnitude of each value in calibration.
        limit: the integer that twice the largest magnitude of the stream becomes.
    """
    streams: UnionFind[str] = UnionFind(graph.types)
    for node in graph.nodes:
        if isinstance(node.op, (Add, *MOVES)):
            streams.union(*node.inputs, *node.outputs)
    units = {}
    for members in streams.to_sets():
        peak = max(peaks.get(name, 0.0) for name in members) or 1.0
        units.update(dict.fromkeys(members, HEADROOM * peak / limit))
    return units


def joint_layers(graph: Graph) -> list[frozenset[str]]:
    """Groups of layers whose sums are added to each other: without a rescale they must count in one unit."""
    streams: UnionFind[str] = UnionFind(graph.types)
    for node in graph.nodes:
        if isinstance(node.op, (Add, *MOVES)):
            streams.union(*node.inputs, *node.outputs)
    added = {streams[node.output] for node in graph.nodes if isinstance(node.op, Add)}
    groups: dict[str, set[str]] = {}
    for node in graph.nodes:
        if isinstance(node.op, Convolution | Linear) and streams[node.output] in added:
            groups.setdefault(streams[node.output], set()).add(node.name)
    return [frozenset(layers) for layers in groups.values()]


def rescaling(x: Unit, wanted: float, limit: int) -> tuple[Rescale, float]:
    """The operation that brings a value to a scalar unit without offset, clipped to -limit..limit.

    Args:
        x: what its integers mean now.
        wanted: real value of an integer of the result; made larger where a factor would leave 16 bits.
        limit: the largest magnitude of the result.

    Returns:
        The operation and the unit of its result.

    >>> op, unit = rescaling(Unit(np.array([0.5, 0.25]), np.zeros(())), 0.125, 100)
    >>> op.evaluate(np.array([[3, 3]]))[0].tolist(), unit
    ([[12, 6]], 0.125)
    """
    largest = float(np.abs(x.scale).max())
    unit = max(wanted, largest / LARGEST_FACTOR)
    shift = 0
    if largest > 0:
        shift = max(0, min(40, int(np.floor(np.log2(LARGEST_FACTOR * unit / largest)))))
    factor = np.asarray(np.rint(x.scale / unit * 2.0**shift).astype(np.int32))
    offset = np.asarray(np.rint(x.offset / unit).astype(np.int64))
    return Rescale(factor, shift, -limit, limit, offset if offset.any() else None), unit


def compact(array: Array) -> Array:
    """The same array with axes of one element where nothing differs along them.

    >>> compact(np.array([[1.0, 1.0], [2.0, 2.0]])).shape, compact(np.ones((3, 2))).shape
    ((2, 1), ())
    """
    for axis in range(array.ndim):
        first = array.take([0], axis)
        if bool((array == first).all()):
            array = first
    return array.reshape(()) if array.size == 1 else array
