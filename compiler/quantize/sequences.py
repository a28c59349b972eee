"""Graphs executed over all time steps, node by node: what looks at one layer at a time needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spikeloom.compiler.graph.graph import Graph, Node, Stage
from spikeloom.compiler.graph.op import Array, StatefulOp

Visit = Callable[[Node, list[Array]], Node]


def run_sequence(graph: Graph, frames: Array, visit: Visit | None = None) -> dict[str, Array]:
    """Run a graph over frames [steps, samples, ...] from a reset.

    Args:
        graph: float or integer.
        frames: [steps, samples, ...].
        visit: called with each node and its inputs [steps, samples, ...] before it is run; the node that
            it returns is run in its place.

    Returns:
        What the neuron layers and the outputs of the graph gave, [steps, samples, ...], by value.
    """
    dtype = np.int64 if graph.stage is Stage.INTEGER else np.float64
    values: dict[str, Array] = {graph.inputs[0]: np.asarray(frames).astype(dtype)}
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    kept = {*graph.outputs, *(node.output for node in graph.neurons())}
    for index, node in enumerate(graph.nodes):
        inputs = [values[name] for name in node.inputs]
        chosen = node if visit is None else visit(node, inputs)
        values.update(zip(node.outputs, _over_time(graph, chosen, inputs), strict=True))
        for name in node.inputs:
            if last[name] == index and name not in kept:
                values.pop(name, None)
    return {name: value for name, value in values.items() if name in kept}


def _over_time(graph: Graph, node: Node, inputs: list[Array]) -> list[Array]:
    steps, samples = inputs[0].shape[:2]
    if isinstance(node.op, StatefulOp):
        return over_time(node.op, inputs, node.op.initial(*graph.input_types(node)))
    flat = [x.reshape(-1, *x.shape[2:]) for x in inputs]
    return [y.reshape(steps, samples, *y.shape[1:]) for y in node.op.evaluate(*flat)]


def over_time(op: StatefulOp, inputs: list[Array], initial: dict[str, Array]) -> list[Array]:
    """Advance an operation with a state over inputs [steps, samples, ...]."""
    samples = inputs[0].shape[1]
    state = {name: np.broadcast_to(value, (samples, *value.shape)) for name, value in initial.items()}
    results = []
    for now in zip(*inputs, strict=True):
        outputs, state = op.step(now, state)
        results.append(outputs)
    return [np.stack(column) for column in zip(*results, strict=True)]
