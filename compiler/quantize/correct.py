"""Correction after rounding: weights, biases and thresholds make up for what rounding did to a layer's sums.

Rounding shifts the mean of a layer's currents and stretches their spread. Layer after layer, behind layers
that were corrected already: weights are rounded anew by the error of their sums (:mod:`.compensate`); the
bias of the integer neurons gets the difference of the means on the calibration recordings (bias correction:
Nagel et al., 2019, arXiv 1906.04721, here measured on currents), unless more spikes differ from the trained
ones with it; then each threshold becomes the one, of some around its own, with which the fewest differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from spikeloom.compiler.graph.arithmetic import weighted_bounds
from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node
from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, RuleBrokenError
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.graph.verify import verify
from spikeloom.compiler.quantize.compensate import products_of_inputs, relative_error, round_together
from spikeloom.compiler.quantize.driven import driven_neuron
from spikeloom.compiler.quantize.quantize import Quantized
from spikeloom.compiler.quantize.sequences import over_time, run_sequence
from spikeloom.compiler.quantize.thresholds import RoundingBound, on_bias_grid, restores_tie
from spikeloom.errors import UnsupportedError

FACTORS = np.array([1.0, 0.99, 1.01, 0.98, 1.02, 0.96, 1.04, 0.93, 1.07, 0.9, 1.1])
"""Thresholds that are tried, of the one that is there; the first is kept unless another is better."""


@dataclass(frozen=True)
class Correction:
    """What was changed of a neuron layer, in state units: the largest change of a bias and a threshold."""

    layer: str
    bias: int
    threshold: int


def correct(
    canonical: Graph, quantized: Quantized, profile: NumericProfile, frames: Array, real: Array
) -> tuple[Quantized, tuple[Correction, ...]]:
    """Correct weights and biases, and where each neuron may have its own the thresholds, of an integer graph.

    Weights that were trained on a grid stay as they are, and weights stay rounded to the nearest integers
    where fewer spikes differ with these on the recordings. What is corrected of neurons counts as rounding:
    the declared bounds are wider by as much. A change that could let a potential overflow is left out.

    Args:
        canonical: the graph that was quantized.
        quantized: made from it.
        profile: the target's grid.
        frames: integers [steps, samples, ...] of the calibration.
        real: their real values.
    """
    walks = (_walked(canonical, quantized, profile, frames, real, anew) for anew in (True, False))
    walk = min(walks, key=lambda one: float(np.mean(one.differing or [0.0])))
    nodes = tuple(walk.changed.get(node.name, node) for node in quantized.graph.nodes)
    graph = _rebuilt(quantized.graph, nodes)
    verify(graph)
    grids = tuple(walk.grids[grid.layer] for grid in quantized.grids)
    bounds = {**quantized.bounds, **walk.bounds}
    return replace(quantized, graph=graph, bounds=bounds, grids=grids), tuple(walk.made)


def _walked(
    canonical: Graph, quantized: Quantized, profile: NumericProfile, frames: Array, real: Array, anew: bool
) -> _Walk:
    walk = _Walk(canonical, quantized, profile, anew)
    run_sequence(canonical, real, walk.keep)
    run_sequence(quantized.graph, frames, walk.correct)
    return walk


def _rebuilt(graph: Graph, nodes: tuple[Node, ...]) -> Graph:
    """The graph with other operations, and the bounds of values that follow from them."""
    builder = GraphBuilder(graph.name, graph.stage, graph.profile)
    for name in graph.inputs:
        builder.input(name, graph.types[name])
    for node in nodes:
        builder.add(node.name, node.op, *node.inputs, source=node.source)
    for name in graph.outputs:
        builder.output(name)
    builder.units.update(graph.units)
    return builder.build()


@dataclass
class _Walk:
    canonical: Graph
    quantized: Quantized
    profile: NumericProfile
    anew: bool  # whether weights are rounded anew
    weights: dict[str, Array] = field(default_factory=dict)
    currents: dict[str, Array] = field(default_factory=dict)
    trained: dict[str, Neuron] = field(default_factory=dict)
    changed: dict[str, Node] = field(default_factory=dict)
    bounds: dict[str, RoundingBound] = field(default_factory=dict)
    made: list[Correction] = field(default_factory=list)
    differing: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.grids = {grid.layer: grid for grid in self.quantized.grids}

    def keep(self, node: Node, inputs: list[Array]) -> Node:
        """The weights of a trained layer, or what its neurons receive."""
        if isinstance(node.op, (Convolution, Linear)):
            self.weights[node.name] = node.op.weight
        if isinstance(node.op, Neuron):
            self.currents[node.name], self.trained[node.name] = inputs[0], node.op
        return node

    def correct(self, node: Node, inputs: list[Array]) -> Node:
        """The corrected node of a layer."""
        if isinstance(node.op, (Convolution, Linear)):
            return self._rounded_anew(node, node.op, inputs[0])
        if not isinstance(node.op, IntegerNeuron) or node.name not in self.trained or node.op.current_decay:
            return node
        currents, trained = self.currents.pop(node.name), self.trained[node.name]
        bound = self.quantized.bounds[node.name]
        x = inputs[0]
        before = node.op
        spikes = over_time(trained, [currents], trained.initial(self._type(node)))[0]
        wanted = np.rint(spikes * trained.divisor)
        options = [
            before,
            self._held(node, before, self._with_bias(before, trained, bound, x, currents, node)),
        ]
        op = min(options, key=lambda option: int(self._apart(node, option, x, wanted).sum()))
        if self.profile.threshold_groups is None and op.levels == 1 and op.reset == "hard":
            op = self._held(node, op, self._with_threshold(node, op, x, wanted, bound.unit))
        self.differing.append(float(self._apart(node, op, x, wanted).mean()))
        self._note(node, before, op, bound)
        return self.changed[node.name]

    def _rounded_anew(self, node: Node, op: Convolution | Linear, x: Array) -> Node:
        """A layer with weights, rounded by the error of its sums on the inputs that it gets now."""
        unit = self.quantized.graph.units.get(node.inputs[0])
        if not self.anew or self.grids[node.name].taken_over or unit is None or np.any(unit.offset != 0):
            return node
        products = products_of_inputs(op, x.reshape(-1, *x.shape[2:]), self._has_bias_behind(node, op))
        if not products:
            return node
        steps = self.quantized.steps[node.name].reshape(-1, *(1,) * (op.weight.ndim - 1))
        real = (self.weights[node.name] / steps).reshape(len(products), -1, len(products[0]))
        limit = 2 ** (self.grids[node.name].bits - 1) - 1
        whole = [round_together(*pair, limit) for pair in zip(real, products, strict=True)]
        weight = self._within_bounds(node, op, np.concatenate(whole).reshape(op.weight.shape))
        rounded = weight.reshape(real.shape)
        error = np.mean([relative_error(*one) for one in zip(real, rounded, products, strict=True)])
        self.grids[node.name] = replace(
            self.grids[node.name], largest=int(np.abs(weight).max()), error=float(error), together=True
        )
        self.changed[node.name] = replace(node, op=replace(op, weight=weight))
        return self.changed[node.name]

    def _has_bias_behind(self, node: Node, op: Convolution | Linear) -> bool:
        """Whether a neuron's bias makes up for an error of the mean."""
        neuron = driven_neuron(self.canonical, self.canonical.node(node.name))
        kept = neuron is not None and (
            isinstance(neuron.op, FeedbackNeuron) or getattr(neuron.op, "current_decay", None) is not None
        )
        return op.bias is None and not kept

    def _within_bounds(self, node: Node, op: Convolution | Linear, weight: Array) -> Array:
        """The new weights, but the old ones of channels whose sums could go further than any did before."""
        types = self.quantized.graph.types
        (lo, hi), (low, high) = (types[name].kind.bounds for name in (node.inputs[0], node.output))
        least, most = weighted_bounds(weight, min(lo, 0), max(hi, 0), op.bias)
        further = ((least < low) | (most > high)).reshape(-1, *(1,) * (weight.ndim - 1))
        return np.where(further, op.weight, weight)

    def _with_bias(
        self,
        op: IntegerNeuron,
        trained: Neuron,
        bound: RoundingBound,
        x: Array,
        currents: Array,
        node: Node,
    ) -> IntegerNeuron:
        shape = np.broadcast_shapes(op.bias.shape, bound.unit.shape)
        wanted = _mean((trained.gain * currents + trained.drift) / bound.unit, shape)
        wanted = wanted - _mean(x << op.fraction_bits, shape)
        if restores_tie(trained, bound.threshold, self.profile):
            wanted = wanted + 1
        try:
            return replace(op, bias=on_bias_grid(node.name, wanted, self.profile))
        except UnsupportedError:
            return op

    def _with_threshold(
        self, node: Node, op: IntegerNeuron, x: Array, wanted: Array, unit: Array
    ) -> IntegerNeuron:
        shape = np.broadcast_shapes(op.theta.shape[1:], unit.shape)
        first = np.broadcast_to(op.theta[0] + 1, shape)
        options = np.stack([np.maximum(np.rint(first * factor), 1) - 1 for factor in FACTORS]).astype(
            np.int64
        )
        flips = [
            _mean(self._apart(node, replace(op, theta=theta[None]), x, wanted), shape) for theta in options
        ]
        best = np.stack(flips).argmin(0)
        return replace(op, theta=np.take_along_axis(options, best[None], 0))

    def _apart(self, node: Node, op: IntegerNeuron, x: Array, wanted: Array) -> Array:
        """Where the spikes of a layer differ from the trained ones."""
        (fired,) = over_time(op, [x], op.initial(self._type(node)))
        apart: Array = fired != wanted
        return apart

    def _held(self, node: Node, before: IntegerNeuron, after: IntegerNeuron) -> IntegerNeuron:
        """The new operation, if no potential of it can overflow."""
        try:
            after.infer(self._type(node))
        except RuleBrokenError:
            return before
        return after

    def _note(self, node: Node, before: IntegerNeuron, after: IntegerNeuron, bound: RoundingBound) -> None:
        bias, theta = np.abs(after.bias - before.bias), after.theta[0] - before.theta[0]
        self.changed[node.name] = replace(node, op=after)
        self.bounds[node.name] = replace(
            bound,
            threshold=bound.threshold + theta,
            potential=bound.potential + bias,
            decision=bound.decision + bias + np.abs(theta),
        )
        self.made.append(Correction(node.name, int(bias.max()), int(np.abs(theta).max())))

    def _type(self, node: Node) -> Type:
        return self.quantized.graph.types[node.inputs[0]]


def _mean(values: Array, shape: tuple[int, ...]) -> Array:
    """The mean of values [steps, samples, ...] over steps, samples, and axes that are one in ``shape``."""
    own = values.shape[2:]
    full = (1,) * (len(own) - len(shape)) + shape
    axes = (0, 1, *(axis + 2 for axis, size in enumerate(full) if size == 1))
    result: Array = values.mean(axes, keepdims=True)[0, 0]
    return result.reshape(shape)
