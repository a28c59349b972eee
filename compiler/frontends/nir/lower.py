"""From a NIR graph to a graph of ours, for one way to execute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import networkx
import numpy as np

from spikeloom.compiler.frontends.nir.file import NirGraph, NirNode
from spikeloom.compiler.frontends.nir.semantics import Semantics
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import Kind, Type
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.avg_pool2d import AvgPool2d
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.errors import InternalError, Problem, UnsupportedError


class _NotExpressibleError(Exception):
    """A node has no counterpart; the text says why."""


def lower_nir(nir: NirGraph, semantics: Semantics, kind: Kind, name: str = "nir") -> Graph:
    """Make a graph at stage CAPTURED, that the passes and the quantizer take.

    Args:
        nir: one input, one output, no cycles.
        semantics: how its neurons are executed.
        kind: which integers the input may hold.
        name: of the graph.

    Raises:
        UnsupportedError: SL0302, one problem for each node that has no counterpart.
    """
    order = networkx.DiGraph(nir.edges)
    order.add_nodes_from(nir.nodes)
    if not networkx.is_directed_acyclic_graph(order):
        raise UnsupportedError.of("SL0302", name, "has cycles: recurrent connections have no counterpart")
    walk = _Walk(GraphBuilder(name, Stage.CAPTURED), semantics, kind)
    for node in networkx.lexicographical_topological_sort(order):
        sources = [source for source, target in nir.edges if target == node]
        walk.visit(node, nir.nodes[node], sources)
    if walk.problems:
        raise UnsupportedError(walk.problems)
    return walk.builder.build()


@dataclass
class _Walk:
    builder: GraphBuilder
    semantics: Semantics
    kind: Kind
    values: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def visit(self, name: str, node: NirNode | NirGraph, sources: list[str]) -> None:
        """Lower one node; what follows a node that failed is passed over."""
        kind = node.type if isinstance(node, NirNode) else "NIRGraph"
        if any(source not in self.values for source in sources):
            return
        try:
            if not isinstance(node, NirNode) or kind not in RULES:
                raise _NotExpressibleError(f"{kind} has no counterpart")
            self.values[name] = RULES[kind](self, name, node, self._sum(name, sources))
        except (_NotExpressibleError, InternalError) as error:
            what = error.problems[0].what if isinstance(error, InternalError) else str(error)
            wanted = ", ".join(sorted(RULES))
            self.problems.append(Problem("SL0302", name, what, wanted=wanted))

    def add(self, name: str, op: Op, *inputs: str) -> str:
        """Append a node of ours; the value that bears the name of a NIR node is its last."""
        return self.builder.add(self.builder.unique(name), op, *inputs)[0]

    def shape(self, value: str) -> tuple[int, ...]:
        return self.builder.types[value].shape

    def _sum(self, name: str, sources: list[str]) -> str:
        """The inputs of a node added up, as NIR means several edges."""
        if not sources:
            return ""
        total = self.values[sources[0]]
        for source in sources[1:]:
            total = self.add(f"{name}.sum", Add(), total, self.values[source])
        return total


Rule = Callable[[_Walk, str, NirNode, str], str]


def _input(walk: _Walk, name: str, node: NirNode, x: str) -> str:
    shape = tuple(int(size) for size in np.atleast_1d(np.asarray(node.parameters["shape"])))
    return walk.builder.input(name, Type(shape, walk.kind))


def _output(walk: _Walk, name: str, node: NirNode, x: str) -> str:
    walk.builder.output(x)
    return x


def _linear(walk: _Walk, name: str, node: NirNode, x: str) -> str:
    bias = node.parameters.get("bias")
    return walk.add(name, Linear(_array(node, "weight"), None if bias is None else np.asarray(bias)), x)


def _scale(walk: _Walk, name: str, node: NirNode, x: str) -> str:
    return walk.add(name, Affine(_array(node, "scale"), np.zeros(())), x)


def _conv(walk: _Walk, name: str, node: NirNode, x: str) -> str:
    weight = _array(node, "weight")
    axes = weight.ndim - 2
    stride, dilation = (_per_axis(node, key, axes, 1) for key in ("stride", "dilation"))
    padding = _padding(node, weight.shape[2:], dilation)
    groups = int(np.asarray(node.parameters.get("groups", 1)))
    kind = Conv1d if axes == 1 else Conv2d
    return walk.add(name, kind(weight, _array(node, "bias"), stride, padding, dilation, groups), x)


def _pool(walk: _Walk, name: str, node: NirNode, x: str) -> str:
    kernel = _per_axis(node, "kernel_size", 2, 1)
    geometry = (kernel, _per_axis(node, "stride", 2, 1), _per_axis(node, "padding", 2, 0))
    if node.type == "AvgPool2d":
        return walk.add(name, AvgPool2d(*geometry), x)
    channels = walk.shape(x)[0]
    ones = np.ones((channels, 1, *kernel))
    return walk.add(name, Conv2d(ones, None, geometry[1], geometry[2], (1, 1), channels), x)


def _flatten(walk: _Walk, name: str, node: NirNode, x: str) -> str:
    shape = walk.shape(x)
    start, end = (
        int(np.asarray(node.parameters.get(key, d))) for key, d in (("start_dim", 1), ("end_dim", -1))
    )
    start, end = start % len(shape), end % len(shape)
    return walk.add(name, Reshape((*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])), x)


def _neuron(walk: _Walk, name: str, node: NirNode, x: str) -> str:
    """IF and LIF: gains, thresholds and leak potentials may differ from neuron to neuron, tau may not."""
    rule = walk.semantics
    threshold, gain = _array(node, "v_threshold").astype(float), _array(node, "r").astype(float)
    if (threshold <= 0).any() or np.any(np.asarray(node.parameters.get("v_reset", 0)) != 0):
        raise _NotExpressibleError("a threshold of zero, or a reset to another potential, has no counterpart")
    rate, leak = 0.0, np.zeros(())
    if node.type == "LIF":
        rate, leak = rule.dt / _uniform(node, "tau"), _array(node, "v_leak").astype(float)
    drive = gain * rate if node.type == "LIF" else gain * (1.0 if rule.pulses else rule.dt)
    one = float(np.nextafter(1.0, 2.0)) if rule.strict else 1.0
    shape = walk.shape(x)
    scale, offset = (_fitted(array, shape) for array in (drive / threshold, rate * leak / threshold))
    current = walk.add(f"{name}.drive", Affine(scale, offset), x)
    return walk.add(name, Neuron(1.0 - rate, 1.0, one, reset=rule.reset), current)


RULES: dict[str, Rule] = {
    "Affine": _linear,
    "AvgPool2d": _pool,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "Flatten": _flatten,
    "IF": _neuron,
    "Input": _input,
    "LIF": _neuron,
    "Linear": _linear,
    "Output": _output,
    "Scale": _scale,
    "SumPool2d": _pool,
}
"""Rules by NIR's names of nodes."""


def _array(node: NirNode, name: str) -> Array:
    if name not in node.parameters:
        raise _NotExpressibleError(f"its parameter {name} is missing")
    return np.asarray(node.parameters[name])


def _uniform(node: NirNode, name: str) -> float:
    values = _array(node, name).astype(float)
    if values.size == 0 or (values != values.flat[0]).any():
        raise _NotExpressibleError(f"{name} differs from neuron to neuron")
    return float(values.flat[0])


def _fitted(array: Array, shape: tuple[int, ...]) -> Array:
    """A parameter against a value: one number if it is uniform, else of the shape of the value."""
    if (array == array.flat[0]).all():
        return np.asarray(array.flat[0])
    if array.shape != shape:
        raise _NotExpressibleError(f"its parameters {list(array.shape)} do not fit {list(shape)}")
    return array


def _per_axis(node: NirNode, name: str, axes: int, default: int) -> tuple[int, ...]:
    values = np.atleast_1d(np.asarray(node.parameters.get(name, default))).astype(int).tolist()
    return tuple(values * axes if len(values) == 1 else values)


def _padding(node: NirNode, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    given: Any = node.parameters.get("padding", 0)
    if given == "valid" if isinstance(given, str) else False:
        return (0,) * len(kernel)
    if isinstance(given, str):
        spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if any(span % 2 for span in spans):
            raise _NotExpressibleError("padding «same» of an even window is not symmetric")
        return tuple(span // 2 for span in spans)
    return _per_axis(node, "padding", len(kernel), 0)
