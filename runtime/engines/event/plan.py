"""A network as a list of calls on buffers that are allocated once.

The graph has no loop but the states of its operations, so that each operation may run over all steps
before the next one begins. What moves no number (transpositions, most reshapes, slices) is resolved while
the plan is made and costs nothing when it runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import DTypeLike

from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.kinds import Kind
from spikeloom.compiler.graph.op import Array, StatefulOp
from spikeloom.runtime.engines.event.buffers import Buffers, block_of
from spikeloom.runtime.engines.event.dense import Product
from spikeloom.runtime.engines.event.memory import LEAD, arranged, memory_axes, restored


@dataclass
class Moment:
    """What a plan works on when it runs.

    Attributes:
        state: as the plan holds it, see :class:`Layout`.
        spikes: where the spikes of each neuron layer go, views [steps, samples, ...]; nothing if nobody
            wants to see them.
        counts: where the number of neurons that fired goes, views [steps, samples].
        output: where the network's output goes.
        rested: states that are 0 and whose memory holds anything yet.
    """

    state: dict[str, Array]
    spikes: Mapping[str, Array]
    counts: Mapping[str, Array]
    output: Array
    rested: Set[str] = frozenset()


Call = Callable[[Moment], object]


@dataclass(frozen=True)
class Layout:
    """How a state is held.

    Attributes:
        dtype: of its numbers.
        axes: of the graph's shape, as they lie in memory after the samples.
        shape: in memory, after the samples.
    """

    dtype: DTypeLike
    axes: tuple[int, ...]
    shape: tuple[int, ...]

    def hold(self, state: Array) -> Array:
        """From [samples, ...] of the graph to what the kernels change in place."""
        moved = state.transpose(0, *(1 + axis for axis in self.axes))
        return np.array(moved, self.dtype, order="C").reshape(len(state), *self.shape)

    def free(self, held: Array, shape: tuple[int, ...]) -> Array:
        """Back again, as int64 or float64 [samples, *shape]."""
        moved = held.reshape(len(held), *(shape[axis] for axis in self.axes))
        order = np.argsort(self.axes)
        kind = np.float64 if held.dtype.kind == "f" else np.int64
        return np.array(moved.transpose(0, *(1 + int(axis) for axis in order)), kind, order="C")


@dataclass
class Shared:
    """What all plans of a network have in common.

    Attributes:
        products: dense products with stored weights, by node.
        parameters: weights and constants as kernels want them, by node and purpose.
        layouts: how each state is held.
        axes: the order in memory of each neuron layer and of the output.
        rested: states that begin at 0 and whose kernels can write that themselves.
    """

    products: dict[str, Product] = field(default_factory=dict)
    parameters: dict[tuple[str, str], Array] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)
    axes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    rested: set[str] = field(default_factory=set)


class Planner:
    """Collects the calls of a plan; rules of operations append to it.

    Attributes:
        graph: what is planned.
        steps, samples: how many of them a run takes.
        shared: kept over plans.
        calls: in the order in which they run.
    """

    def __init__(self, graph: Graph, steps: int, samples: int, shared: Shared) -> None:
        self.graph, self.steps, self.samples, self.shared = graph, steps, samples, shared
        self.calls: list[Call] = []
        self._buffers = Buffers()
        self._scratch: list[Array] = []
        self._uses: Counter[int] = Counter()

    def take(self, name: str, axes: tuple[int, ...] | None = None, dtype: DTypeLike | None = None) -> Array:
        """Memory for a value of the graph [steps, samples, ...], its axes in the given order in memory."""
        kind = self.graph.types[name]
        axes = tuple(range(len(kind.shape))) if axes is None else axes
        shape = (self.steps, self.samples, *(kind.shape[axis] for axis in axes))
        return restored(self._buffers.take(shape, dtype_of(kind.kind) if dtype is None else dtype), axes)

    def scratch(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Memory that is needed until the calls of the present node are done."""
        array = self._buffers.take(shape, dtype)
        self._scratch.append(array)
        return array

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Append a call whose arguments are known now."""
        self.calls.append(lambda moment: function(*arguments))

    def dense(self, x: Array, axes: tuple[int, ...] | None = None) -> Array:
        """The value without gaps in memory, in the given order of axes; copied where it is not so yet."""
        wanted = memory_axes(x) if axes is None else axes
        if arranged(x, wanted).flags.c_contiguous:
            return x
        shape = arranged(x, wanted).shape
        y = restored(self.scratch(shape, x.dtype), wanted)
        self.call(np.copyto, y, x)
        return y

    def plan(self, rules: Callable[[Planner, Node, tuple[Array, ...]], tuple[Array, ...]]) -> list[Call]:
        """Plan every node and return the calls; the first writes the frames into the input."""
        (entry,), (end,) = self.graph.inputs, self.graph.outputs
        left = Counter(name for node in self.graph.nodes for name in node.inputs)
        values = {entry: self.take(entry)}
        self.input = values[entry]
        self._uses[id(block_of(self.input))] += 1
        fires = {node.output for node in self.graph.neurons()}
        for node in self.graph.nodes:
            outputs = rules(self, node, tuple(values[name] for name in node.inputs))
            for name, array in zip(node.outputs, outputs, strict=True):
                values[name] = array
                self._uses[id(block_of(array))] += 1
                self._deliver(name, array, fires, end)
            self._forget(node, values, left)
        return self.calls

    def _deliver(self, name: str, array: Array, fires: set[str], end: str) -> None:
        """Copy what the caller wants to see, before the memory is used again."""
        if name in fires:
            self.shared.axes[name] = memory_axes(array)
            self.calls.append(lambda moment: _record(moment, name, array))
        if name == end:
            self.calls.append(lambda moment: np.copyto(moment.output, array))

    def _forget(self, node: Node, values: dict[str, Array], left: Counter[str]) -> None:
        """Give the memory back of scratch, and of values that nobody reads any more."""
        left.subtract(node.inputs)
        dead: dict[int, Array] = {id(block_of(array)): array for array in self._scratch}
        for name in {*node.inputs, *node.outputs}:
            if left[name] == 0 and name in values:
                array = values.pop(name)
                self._uses[id(block_of(array))] -= 1
                dead[id(block_of(array))] = array
        for block, array in dead.items():
            if self._uses[block] == 0:
                self._buffers.give_back(array)
        self._scratch = []


def _record(moment: Moment, name: str, spikes: Array) -> None:
    if moment.spikes:
        np.copyto(moment.spikes[name], spikes, casting="unsafe")


def dtype_of(kind: Kind) -> type[np.generic]:
    """The narrowest type that kernels take and that holds every number of a kind.

    >>> from spikeloom.compiler.graph.kinds import SPIKES, current
    >>> dtype_of(SPIKES).__name__, dtype_of(current(-1, 3)).__name__
    ('uint8', 'int32')
    """
    if not kind.is_integer:
        return np.float64
    low, high = kind.bounds
    if low >= 0 and high <= 255:
        return np.uint8
    return np.int32 if low >= -(2**31) and high < 2**31 else np.int64


def by_definition(planner: Planner, node: Node, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """Call the operation itself: slow, and right for every operation that there is or will be."""
    outputs = tuple(planner.take(name) for name in node.outputs)
    if isinstance(node.op, StatefulOp):
        planner.calls.append(_advance(planner, node, node.op, inputs, outputs))
    else:
        planner.call(_evaluate, node, inputs, outputs)
    return outputs


def _evaluate(node: Node, inputs: tuple[Array, ...], outputs: tuple[Array, ...]) -> None:
    results = node.op.evaluate(*(_wide(x.reshape(-1, *x.shape[LEAD:])) for x in inputs))
    for y, result in zip(outputs, results, strict=True):
        np.copyto(y, result.reshape(y.shape), casting="unsafe")


def _advance(
    planner: Planner, node: Node, op: StatefulOp, inputs: tuple[Array, ...], outputs: tuple[Array, ...]
) -> Call:
    types = op.states(*planner.graph.input_types(node))
    for name, kind in types.items():
        dtype = np.int64 if kind.kind.is_integer else np.float64
        axes = tuple(range(len(kind.shape)))
        planner.shared.layouts[f"{node.name}/{name}"] = Layout(dtype, axes, kind.shape)
    fires = op.work == "update"

    def run(moment: Moment) -> None:
        for t in range(len(outputs[0])):
            state = {name: moment.state[f"{node.name}/{name}"] for name in types}
            results, after = op.step(tuple(_wide(x[t]) for x in inputs), state)
            moment.state.update({f"{node.name}/{name}": value for name, value in after.items()})
            for y, result in zip(outputs, results, strict=True):
                np.copyto(y[t], result, casting="unsafe")
        if fires:
            axes = tuple(range(LEAD, outputs[0].ndim))
            np.copyto(moment.counts[node.output], np.count_nonzero(outputs[0], axis=axes))

    return run


def _wide(x: Array) -> Array:
    """In the type in which operations are defined."""
    return x.astype(np.float64 if x.dtype.kind == "f" else np.int64)
