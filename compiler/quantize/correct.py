"""Correction after rounding: biases and thresholds make up for what rounding did to a layer's sums.

Rounding shifts the mean of a layer's currents and stretches their spread. Layer after layer, behind layers
that were corrected already, the bias of the integer neurons gets the difference of the means on the
calibration recordings (bias correction: Nagel et al., 2019, arXiv 1906.04721, here measured on currents),
unless more spikes differ from the trained ones with it; then each threshold becomes the one, of some around
its own, with which the fewest differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, RuleBrokenError
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.graph.verify import verify
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
    """Correct the biases, and where each neuron may have its own the thresholds, of an integer graph.

    What is corrected counts as rounding: the declared bounds are wider by as much. A change that could let
    a potential overflow is left out.

    Args:
        canonical: the graph that was quantized.
        quantized: made from it.
        profile: the target's grid.
        frames: integers [steps, samples, ...] of the calibration.
        real: their real values.
    """
    walk = _Walk(quantized, profile)
    run_sequence(canonical, real, walk.keep)
    run_sequence(quantized.graph, frames, walk.correct)
    nodes = tuple(walk.changed.get(node.name, node) for node in quantized.graph.nodes)
    graph = quantized.graph.replace(nodes=nodes)
    verify(graph)
    return replace(quantized, graph=graph, bounds={**quantized.bounds, **walk.bounds}), tuple(walk.made)


@dataclass
class _Walk:
    quantized: Quantized
    profile: NumericProfile
    currents: dict[str, Array] = field(default_factory=dict)
    trained: dict[str, Neuron] = field(default_factory=dict)
    changed: dict[str, Node] = field(default_factory=dict)
    bounds: dict[str, RoundingBound] = field(default_factory=dict)
    made: list[Correction] = field(default_factory=list)

    def keep(self, node: Node, inputs: list[Array]) -> Node:
        """What a trained layer receives."""
        if isinstance(node.op, Neuron):
            self.currents[node.name], self.trained[node.name] = inputs[0], node.op
        return node

    def correct(self, node: Node, inputs: list[Array]) -> Node:
        """The corrected node of a neuron layer."""
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
        self._note(node, before, op, bound)
        return self.changed[node.name]

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
