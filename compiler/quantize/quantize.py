"""The quantizer: from a canonical graph to an integer graph that is legal for a target.

It walks the graph once and carries, for every value, what its integers mean: real = scale *
integer + offset. Batch norm is in the weights by then; their steps, the input scale of a neuron
and the scale of an attention become part of the neuron's threshold, so no value is ever rescaled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod

import numpy as np

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage, Unit
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.graph.verify import verify
from spikeloom.compiler.quantize.activity import Activity
from spikeloom.compiler.quantize.thresholds import RoundingBound, quantize_neuron
from spikeloom.compiler.quantize.weights import (
    Fired,
    GridWeights,
    free_steps,
    grouped_steps,
    round_weights,
    shared_step,
)
from spikeloom.errors import Problem, UnsupportedError

PASSED_THROUGH = (MaxPool2d, Reshape, Transpose)


@dataclass(frozen=True)
class LayerGrid:
    """How a layer's weights were rounded.

    Attributes:
        layer: name of the node.
        bits: width of a weight.
        largest: the largest magnitude in use.
        steps: how many different steps its channels have.
        error: relative root mean square error of its sums (:class:`GridWeights`).
        halvings: how often its step was doubled so that no potential overflows.
    """

    layer: str
    bits: int
    largest: int
    steps: int
    error: float
    halvings: int


@dataclass(frozen=True)
class Quantized:
    """An integer graph and how it was made.

    Attributes:
        graph: at stage INTEGER, verified: nothing in it overflows.
        bounds: for each neuron layer, how far it may be from its trained decision.
        grids: for each layer with weights, its rounding.
        steps: for each layer with weights, the real value [output channels] of an integer step of its
            weights, as they are with the batch norm after them folded in.
    """

    graph: Graph
    bounds: Mapping[str, RoundingBound]
    grids: tuple[LayerGrid, ...]
    steps: Mapping[str, Array]


def quantize(graph: Graph, profile: NumericProfile, activity: Activity, horizon: int) -> Quantized:
    """Quantize a canonical graph for a target's numeric profile.

    Where a membrane potential could overflow the target's state, the step of the weights before
    it is doubled until the proof succeeds.

    Args:
        graph: at stage CANONICAL.
        profile: the target's grid.
        activity: statistics of the network on calibration recordings.
        horizon: time steps between resets; 0 if never reset.

    Raises:
        UnsupportedError: SL0501, an operation has no integer form; SL0502, scales that must be
            equal are not; SL0503, a potential overflows whatever the step; SL0504, a threshold or
            bias is off the grid. All problems of the graph are listed.
    """
    halvings: dict[str, int] = {}
    while True:
        walk = _Walk(graph, profile, activity, horizon, halvings)
        overflowing = walk.run()
        if not overflowing:
            break
        for layer in overflowing:
            halvings[layer] = halvings.get(layer, 0) + 1
    result = walk.builder.build()
    verify(result)
    return Quantized(result, walk.bounds, tuple(walk.grids), walk.steps)


class _NoIntegerFormError(Exception):
    """A node cannot be quantized; the problem is in the argument."""

    def __init__(self, code: str, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.code, self.what, self.remedy = code, what, remedy


@dataclass
class _Walk:
    graph: Graph
    profile: NumericProfile
    activity: Activity
    horizon: int
    halvings: Mapping[str, int]
    bounds: dict[str, RoundingBound] = field(default_factory=dict)
    grids: list[LayerGrid] = field(default_factory=list)
    steps: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.builder = GraphBuilder(self.graph.name, Stage.INTEGER, self.profile.name)
        self.units = self.builder.units
        self.names: dict[str, str] = {}
        self._aliases: dict[str, Unit] = {}
        self.problems: list[Problem] = []
        self.overflowing: set[str] = set()
        self.broken: set[str] = set()

    def run(self) -> set[str]:
        """Quantize every node; returns the layers whose step must be doubled."""
        for name in self.graph.inputs:
            self.names[name] = self.builder.input(name, self.graph.types[name])
            self.units[name] = Unit(np.ones(()), np.zeros(()))
        for node in self.graph.nodes:
            if self.broken.intersection(node.inputs):
                self.broken.update(node.outputs)
                continue
            self._visit(node)
        if self.problems:
            raise UnsupportedError(self.problems)
        for name in self.graph.outputs:
            if name not in self.broken:
                self.builder.output(self.names[name])
                self.units[self.names[name]] = self._unit(name)
        return self.overflowing

    def _visit(self, node: Node) -> None:
        try:
            self._quantize(node.op, node)
        except _NoIntegerFormError as error:
            self.problems.append(
                Problem(error.code, f"{node.name} at {node.source}", error.what, remedy=error.remedy)
            )
            self.broken.update(node.outputs)
        except UnsupportedError as error:
            self.problems += error.problems
            self.broken.update(node.outputs)

    @singledispatchmethod
    def _quantize(self, op: Op, node: Node) -> None:
        raise _NoIntegerFormError("SL0501", f"{op.name} has no integer form")

    @_quantize.register(Convolution)
    @_quantize.register(Linear)
    def _weights(self, op: Convolution | Linear, node: Node) -> None:
        x = self._unit(node.inputs[0])
        if np.any(x.offset != 0) or x.scale.size != 1:
            raise _NoIntegerFormError("SL0501", "its input has an offset or a scale per channel")
        scale = float(x.scale.reshape(()))
        fired = self._fired(node)
        grid = self._grid(node, op.weight.astype(np.float64) * scale, fired, scale)
        bias = np.zeros(len(grid.steps)) if op.bias is None else op.bias.astype(np.float64)
        shape = (-1, *(1,) * op.axes) if isinstance(op, Convolution) else (-1,)
        if fired is None:
            integer_bias = np.rint(bias / grid.steps).astype(np.int32)
            self._add(
                node, replace(op, weight=grid.integers, bias=integer_bias), Unit(grid.steps[:1], np.zeros(()))
            )
        else:
            unit = Unit(grid.steps.reshape(shape), bias.reshape(shape))
            self._add(node, replace(op, weight=grid.integers, bias=None), unit)

    @_quantize.register
    def _neuron(self, op: Neuron, node: Node) -> None:
        unit = self._unit(node.inputs[0])
        integer, bound = quantize_neuron(node.name, op, unit, self.profile, self.horizon)
        try:
            integer.infer(self.builder.types[self.names[node.inputs[0]]])
        except RuleBrokenError as error:
            self._overflow(node, str(error))
            return
        self.bounds[node.name] = bound
        self._add(node, integer, Unit(np.ones(()), np.zeros(())))

    @_quantize.register
    def _affine(self, op: Affine, node: Node) -> None:
        x = self._unit(node.inputs[0])
        if (op.scale <= 0).any():
            raise _NoIntegerFormError("SL0501", "a factor that is not positive follows no weights")
        self.names[node.output] = self.names[node.inputs[0]]
        self._aliases[node.output] = Unit(x.scale * op.scale, x.offset * op.scale + op.offset)

    @_quantize.register
    def _add_values(self, op: Add, node: Node) -> None:
        a, b = (self._unit(name) for name in node.inputs)
        if not bool((np.subtract(a.scale, b.scale) == 0).all()):
            raise _NoIntegerFormError("SL0502", "adds values of different scales")
        self._add(node, op, Unit(a.scale, a.offset + b.offset))

    @_quantize.register
    def _matmul(self, op: MatMul, node: Node) -> None:
        a, b = (self._unit(name) for name in node.inputs)
        if a.scale.size != 1 or b.scale.size != 1 or np.any(a.offset != 0) or np.any(b.offset != 0):
            raise _NoIntegerFormError("SL0501", "multiplies values with an offset or a scale per channel")
        self._add(node, op, Unit(a.scale * b.scale, np.zeros(())))

    @_quantize.register
    def _max_pool(self, op: MaxPool2d, node: Node) -> None:
        unit = self._unit(node.inputs[0])
        if any(size != 1 for array in (unit.scale, unit.offset) for size in array.shape[-2:]):
            raise _NoIntegerFormError("SL0502", "pools values whose scale differs within a channel")
        self._add(node, op, unit)

    @_quantize.register
    def _reduce_sum(self, op: ReduceSum, node: Node) -> None:
        unit = self._unit(node.inputs[0])
        if unit.scale.size != 1:
            raise _NoIntegerFormError("SL0502", "sums values of different scales")
        shape = self.graph.types[node.inputs[0]].shape
        offset = np.broadcast_to(unit.offset, shape).sum(op.axes)
        self._add(node, op, Unit(unit.scale.reshape(()), offset if np.any(offset != 0) else np.zeros(())))

    @_quantize.register(Reshape)
    @_quantize.register(Transpose)
    @_quantize.register(Split)
    @_quantize.register(Concat)
    def _moves(self, op: Op, node: Node) -> None:
        units = [self._unit(name) for name in node.inputs]
        if (
            all(unit.scale.size == unit.offset.size == 1 for unit in units)
            and len({_pair(u) for u in units}) == 1
        ):
            moved = [units[0]] * len(node.outputs)
        else:
            shapes = [self.graph.types[name].shape for name in node.inputs]
            scales = op.evaluate(*(_full(u.scale, s) for u, s in zip(units, shapes, strict=True)))
            offsets = op.evaluate(*(_full(u.offset, s) for u, s in zip(units, shapes, strict=True)))
            moved = [Unit(scale[0], offset[0]) for scale, offset in zip(scales, offsets, strict=True)]
        self._add(node, op, *moved)

    def _add(self, node: Node, op: Op, *units: Unit) -> None:
        inputs = (self.names[name] for name in node.inputs)
        outputs = self.builder.add(node.name, op, *inputs, source=node.source)
        for original, name, unit in zip(node.outputs, outputs, units, strict=True):
            self.names[original] = name
            self.units[name] = unit
            self._aliases[original] = unit

    def _unit(self, name: str) -> Unit:
        return self._aliases.get(name) or self.units[name]

    def _fired(self, node: Node) -> Fired | None:
        """The neuron that the sums of a layer drive; None for a readout."""
        neuron = driven_neuron(self.graph, node)
        if neuron is None:
            if node.output in self.graph.outputs:
                return None
            if any(isinstance(user.op, Add) for user in self.graph.consumers.get(node.output, ())):
                raise _NoIntegerFormError(
                    "SL0502", "its sums are added to others before a neuron fires, each of another scale"
                )
            raise _NoIntegerFormError("SL0501", "its sums drive neither one neuron layer nor an output alone")
        assert isinstance(neuron.op, Neuron)
        return Fired(neuron.op.threshold / neuron.op.gain)

    def _grid(self, node: Node, weight: Array, fired: Fired | None, scale: float) -> GridWeights:
        halvings = self.halvings.get(node.name, 0)
        moment = self.activity.moments[node.name] / scale**2
        settings = (weight, moment)
        if fired is None:
            steps = shared_step(*settings, self.profile, 2.0**halvings)
        elif self.profile.threshold_groups is None:
            steps = free_steps(*settings, self.profile, 2.0**halvings)
        else:
            steps = grouped_steps(*settings, fired, self.profile, 2.0**halvings)
        grid = round_weights(weight, steps, moment, self.profile)
        largest = int(np.abs(grid.integers.astype(int)).max())
        kinds = len(np.unique(steps))
        self.grids.append(
            LayerGrid(node.name, self.profile.weight_bits, largest, kinds, grid.error, halvings)
        )
        self.steps[node.name] = steps / scale
        return grid

    def _overflow(self, neuron: Node, reason: str) -> None:
        layers = [
            node.name
            for node in self.graph.nodes
            if isinstance(node.op, (Convolution, Linear)) and driven_neuron(self.graph, node) is neuron
        ]
        spent = [self.halvings.get(layer, 0) >= self.profile.weight_bits - 2 for layer in layers]
        if not layers or any(spent):
            raise _NoIntegerFormError("SL0503", reason, "use a target with a wider state")
        self.overflowing.update(layers)
        self.broken.update(neuron.outputs)


def driven_neuron(graph: Graph, node: Node) -> Node | None:
    """The only neuron layer that a node's result reaches, through pooling and reshapes alone."""
    while True:
        consumers = graph.consumers.get(node.output, ())
        if len(consumers) != 1 or node.output in graph.outputs:
            return None
        (node,) = consumers
        if isinstance(node.op, Neuron):
            return node
        if not isinstance(node.op, PASSED_THROUGH):
            return None


def _pair(unit: Unit) -> tuple[float, float]:
    return float(unit.scale.reshape(())), float(unit.offset.reshape(()))


def _full(array: Array, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(array, shape)[None]
