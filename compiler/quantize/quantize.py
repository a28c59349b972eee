"""The quantizer: from a canonical graph to an integer graph that is legal for a target.

It walks the graph once and carries, for every value, what its integers mean: real = scale *
integer + offset. Batch norm is in the weights by then; their steps, the input scale of a neuron
and the scale of an attention become part of the neuron's threshold. Values are rescaled only where
different units meet: in residuals of membranes, and between weights and weights with no neuron
between them; and only for a target that can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod

import numpy as np

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage, Unit
from spikeloom.compiler.graph.kinds import Kind, Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.divide import Divide
from spikeloom.compiler.graph.ops.elementwise import Elementwise
from spikeloom.compiler.graph.ops.embedding import Embedding
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.ops.gated_state import GatedState
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE
from spikeloom.compiler.graph.ops.layer_norm import LayerNorm
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.linear_state import LinearState
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.slice import Slice
from spikeloom.compiler.graph.ops.softmax import Softmax
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.step_affine import StepAffine
from spikeloom.compiler.graph.ops.step_rescale import StepRescale
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.graph.ops.time_mean import TimeMean
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.graph.ops.upsample2d import Upsample2d
from spikeloom.compiler.graph.ops.weighted_key_value import WeightedKeyValue
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.graph.verify import verify
from spikeloom.compiler.quantize.activity import Activity
from spikeloom.compiler.quantize.equations import quantize_equations
from spikeloom.compiler.quantize.host import HOST_RULES
from spikeloom.compiler.quantize.streams import HEADROOM, compact, joint_layers, rescaling, stream_units
from spikeloom.compiler.quantize.thresholds import RoundingBound, quantize_neuron
from spikeloom.compiler.quantize.weights import (
    Fired,
    GridWeights,
    Range,
    free_steps,
    grouped_steps,
    round_weights,
    shared_step,
    trained_grid,
)
from spikeloom.errors import InternalError, Problem, UnsupportedError

PLAIN = Unit(np.ones(()), np.zeros(()))
EXACT_FLOAT32 = 2**24
MIN_RANGE, MAX_RANGE = 2**7 - 1, 2**15 - 1
"""A value between weights and weights has 8 to 16 bits, so many that sums stay exact in float32."""
LARGEST_SUM = 2**30
FEWEST_DIGITS = 2**4
"""An input that would have to be narrowed further keeps its digits; the sum behind it is rescaled instead."""
FACTOR_RANGE = 2**10 - 1
MEMORY_BITS = 20
"""The matrix of a linear memory: rounding errors come back at each step."""
PASSED_THROUGH = (MaxPool2d, Reshape, Transpose)
JOINING = (Add, Affine, MaxPool2d, ReduceSum, Reshape, Transpose)
"""Between layers that share a step and the neurons that integrate their sums."""


@dataclass(frozen=True)
class Rounding:
    """How weights are rounded.

    Attributes:
        within: how the range of a channel's weights is chosen.
        bits: widths of layers that have another than the profile's, by layer.
    """

    within: Range = field(default_factory=Range)
    bits: Mapping[str, int] = field(default_factory=dict)

    def profile(self, layer: str, profile: NumericProfile) -> NumericProfile:
        """The profile with the width of a layer."""
        return replace(profile, weight_bits=self.bits.get(layer, profile.weight_bits))


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
        taken_over: whether the weights were trained on a grid, and nothing was rounded.
    """

    layer: str
    bits: int
    largest: int
    steps: int
    error: float
    halvings: int
    taken_over: bool = False


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


def quantize(
    graph: Graph,
    profile: NumericProfile,
    activity: Activity,
    horizon: int,
    given: Mapping[str, tuple[Kind, Unit]] | None = None,
    rounding: Rounding | None = None,
) -> Quantized:
    """Quantize a canonical graph for a target's numeric profile.

    Where a membrane potential could overflow the target's state, the step of the weights before
    it is doubled until the proof succeeds.

    Args:
        graph: at stage CANONICAL.
        profile: the target's grid.
        activity: statistics of the network on calibration recordings.
        horizon: time steps between resets; 0 if never reset.
        given: for inputs of the graph, which integers they hold and what those mean; else they hold
            the integers of their kind.
        rounding: ranges and widths of weights; by default ranges of the smallest error and one width.

    Raises:
        UnsupportedError: SL0501, an operation has no integer form; SL0502, scales that must be
            equal are not; SL0503, a potential overflows whatever the step; SL0504, a threshold or
            bias is off the grid. All problems of the graph are listed.
    """
    _refuse_equations(graph, profile)
    halvings: dict[str, int] = {}
    shared: dict[str, float] = {}
    while True:
        walk = _Walk(graph, profile, activity, horizon, halvings, shared, given or {}, rounding or Rounding())
        overflowing = walk.run()
        if shared != walk.needed:
            shared = walk.needed
            continue
        if not overflowing:
            break
        for layer in overflowing:
            halvings[layer] = halvings.get(layer, 0) + 1
    result = walk.builder.build()
    verify(result)
    return Quantized(result, walk.bounds, tuple(walk.grids), walk.steps)


def _refuse_equations(graph: Graph, profile: NumericProfile) -> None:
    """Neurons with declared equations need products of their states, which only some targets have."""
    problems = [
        Problem(
            "SL0501",
            f"{node.name} at {node.source}",
            f"is a neuron with declared equations ({'; '.join(node.op.update)}), which the target has not",
            remedy="compile for the target onnx",
        )
        for node in graph.nodes
        if isinstance(node.op, EquationNeuron) and not profile.hosts
    ]
    if problems:
        raise UnsupportedError(problems)


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
    shared: Mapping[str, float]
    given: Mapping[str, tuple[Kind, Unit]]
    rounding: Rounding
    bounds: dict[str, RoundingBound] = field(default_factory=dict)
    grids: list[LayerGrid] = field(default_factory=list)
    steps: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.builder = GraphBuilder(self.graph.name, Stage.INTEGER, self.profile.name)
        self.units = self.builder.units
        self.names: dict[str, str] = {}
        self._aliases: dict[str, Unit] = {}
        self._rescalings: dict[str, list[tuple[str, Rescale]]] = {}
        self.problems: list[Problem] = []
        self.overflowing: set[str] = set()
        self.broken: set[str] = set()
        self.narrowed: set[str] = set()
        self._wide: set[str] = set()  # layers whose input no sum behind them leaves enough digits
        self._joint = [] if self.profile.rescales else joint_layers(self.graph)
        self._group_of = {layer: group for group in self._joint for layer in group}
        self._wanted: dict[str, float] = {}
        self._streams = stream_units(self.graph, self.activity.peaks, self.profile.stream_limit)

    def run(self) -> set[str]:
        """Quantize every node; returns the layers whose step must be doubled."""
        for name in self.graph.inputs:
            declared = self.graph.types[name]
            kind, unit = self.given.get(name, (declared.kind, PLAIN))
            self.names[name] = self.builder.input(name, Type(declared.shape, kind))
            self.units[name] = unit
        for node in self.graph.nodes:
            if self.broken.intersection(node.inputs):
                self.broken.update(node.outputs)
                continue
            self._visit(node)
        if self.problems and self.shared == self.needed:
            raise UnsupportedError(self.problems)
        for name in self.graph.outputs:
            if name not in self.broken:
                self.builder.output(self.names[name])
                self.units[self.names[name]] = self._unit(name)
        return self.overflowing

    @property
    def _settled(self) -> bool:
        """Whether steps to be shared are known; the first walk finds them, and its result is not used."""
        return bool(self.shared) or not self._joint

    @property
    def needed(self) -> dict[str, float]:
        """The step that layers need to share, of each layer whose sums are added to others'.

        A layer behind an overflow is not reached; it is taken to need what it needed before.
        """
        known = {**self.shared, **self._wanted}
        steps = {group: max(known.get(layer, 0.0) for layer in group) for group in self._joint}
        return {layer: steps[group] for layer, group in self._group_of.items()}

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
        name, x, op = self._weighted_input(op, node)
        scale = float(x.scale.reshape(()))
        reads_out = self._reads_out(node)
        fired = None if reads_out else self._fired(node)
        grid = self._grid(node, op.weight.astype(np.float64) * scale, fired, scale, reads_out)
        shape = (-1, *(1,) * op.axes) if isinstance(op, Convolution) else (-1,)
        steps = grid.steps.reshape(shape)
        bias: Array = np.zeros_like(steps) if op.bias is None else op.bias.astype(np.float64).reshape(shape)
        if np.any(x.offset != 0):
            per_output = grid.steps.reshape(-1, *(1,) * (op.weight.ndim - 1))
            rounded = replace(op, weight=grid.integers * per_output / scale, bias=None)
            bias = bias + self._weighted_offset(rounded, x.offset, node)
        if reads_out and bias.size == len(grid.steps):
            integer_bias = np.rint(bias / steps).astype(np.int32).reshape(-1)
            quantized = replace(op, weight=grid.integers, bias=integer_bias)
            self.append(node, quantized, [name], Unit(grid.steps[:1], np.zeros(())))
        else:
            self.append(
                node,
                replace(op, weight=grid.integers, bias=None),
                [name],
                Unit(compact(steps), compact(bias)),
            )

    def _weighted_offset(self, op: Convolution | Linear, offset: Array, node: Node) -> Array:
        """What a layer makes of the offset of its input: a number a channel, or one a position.

        Its weights are the rounded ones, so that an input of 0.0 stays nothing, whatever its byte.
        """
        if offset.size == 1 and not (isinstance(op, Convolution) and any(op.padding)):
            sums: Array = op.weight.reshape(len(op.weight), -1).sum(1)
            after = op.axes if isinstance(op, Convolution) else 0
            return sums.reshape(-1, *(1,) * after) * float(offset.reshape(()))
        full = np.broadcast_to(offset, self.graph.types[node.inputs[0]].shape)
        return compact(op.evaluate(full[None])[0][0])

    def _weighted_input(self, op: Convolution | Linear, node: Node) -> tuple[str, Unit, Convolution | Linear]:
        """The input of a layer in a scalar unit, and so narrow that no sum overflows its accumulator.

        Zeros that a convolution would pad an input of bytes with are not the byte that stands for 0:
        such an input is padded by a node of its own. Where a potential behind the layer would overflow,
        a wide input gives digits away before the weights do.
        """
        x = self._unit(node.inputs[0])
        name = self.names[node.inputs[0]]
        reach = max(map(abs, self.builder.types[name].kind.bounds))
        weights = op.weight.reshape(len(op.weight), -1).astype(np.float64)
        largest = np.maximum(np.abs(weights).max(1), 1e-300)
        fan_in = max(
            1.0, float((np.abs(weights).sum(1) / largest).max()) * self._grid_of(node).largest_weight
        )
        if reach >= MIN_RANGE and self.profile.short_of_overflow / fan_in < FEWEST_DIGITS:
            self._wide.add(node.name)
        largest_sum = self.profile.largest_sum if self.profile.rescales else LARGEST_SUM
        limit = int(np.clip(min(EXACT_FLOAT32, largest_sum) / fan_in, MIN_RANGE, MAX_RANGE))
        must = x.scale.size != 1 or float(x.scale.reshape(-1)[0]) <= 0 or fan_in * reach >= largest_sum
        if not must and node.name in self.halvings and self.profile.rescales and reach > limit:
            must = True
            limit = int(np.clip(self.profile.short_of_overflow / fan_in, MIN_RANGE, MAX_RANGE))
            self.narrowed.add(node.name)
        if must:
            peak = self.activity.peaks[node.inputs[0]] or 1.0
            name, x = self.rescaled(node, node.inputs[0], HEADROOM * peak / limit, limit)
            return name, x, op
        zero = -x.offset / x.scale
        pads = isinstance(op, Convolution) and any(op.padding)
        if pads and zero.size == 1 and zero != 0 and zero == np.rint(zero):
            assert isinstance(op, Convolution)
            widths = (0, *op.padding)
            padding = Pad(widths, widths, float(zero.reshape(())))
            (name,) = self.builder.add(f"{node.name}.pad", padding, name, source=node.source)
            self.units[name] = x
            op = replace(op, padding=(0,) * op.axes)
        return name, x, op

    @_quantize.register
    def _neuron(self, op: Neuron, node: Node) -> None:
        name, unit = self.names[node.inputs[0]], self._unit(node.inputs[0])
        decays_with_the_current = op.current_decay is not None and np.any(unit.offset != 0)
        if (unit.scale <= 0).any() or decays_with_the_current or self._spreads_thresholds(node, unit):
            name, unit = self._streamed(node, node.inputs[0])
        layers = self._layers_before(node)
        if self._wide.intersection(layers) and self.profile.rescales:
            name, unit = self._ranged(node, node.inputs[0])
        try:
            integer, bound = quantize_neuron(node.name, op, unit, self.profile, self.horizon)
        except UnsupportedError as error:
            if self._joined_before(node):
                self._overflow(node, error.problems[0].what)  # a coarser step makes biases smaller, too
                return
            if layers or not self.profile.rescales:
                raise
            name, unit = self._ranged(node, node.inputs[0])  # a product of products counts too finely
            integer, bound = quantize_neuron(node.name, op, unit, self.profile, self.horizon)
        fault = self._overflows(integer, name)
        if fault and self.profile.rescales and not layers:
            name, unit = self._ranged(node, node.inputs[0])
            integer, bound = quantize_neuron(node.name, op, unit, self.profile, self.horizon)
            fault = self._overflows(integer, name)
        if fault:
            self._overflow(node, fault)
            return
        self.bounds[node.name] = bound
        self.append(node, integer, [name], Unit(np.array(1 / op.divisor), np.zeros(())))

    @_quantize.register
    def _equations(self, op: EquationNeuron, node: Node) -> None:
        name, unit = self.names[node.inputs[0]], self._unit(node.inputs[0])
        peak = self.activity.peaks[node.inputs[0]] or 1.0
        try:
            integer = quantize_equations(op, unit, self.builder.types[name], peak)
        except RuleBrokenError as error:
            raise _NoIntegerFormError("SL0503", str(error)) from error
        self.append(node, integer, [name], PLAIN)

    @_quantize.register
    def _affine(self, op: Affine, node: Node) -> None:
        x = self._unit(node.inputs[0])
        if (op.scale <= 0).any() and not self.profile.rescales:
            raise _NoIntegerFormError("SL0501", "a factor that is not positive follows no weights")
        self.names[node.output] = self.names[node.inputs[0]]
        scale = compact(np.asarray(x.scale * op.scale))
        offset = compact(np.asarray(x.offset * op.scale + op.offset))
        self._aliases[node.output] = Unit(scale, offset)

    @_quantize.register
    def _add_values(self, op: Add, node: Node) -> None:
        a, b = (self._unit(name) for name in node.inputs)
        names = [self.names[name] for name in node.inputs]
        if self._settled and not bool((np.subtract(a.scale, b.scale) == 0).all()):
            (names[0], a), (names[1], b) = (self._streamed(node, name) for name in node.inputs)
            if a.scale != b.scale:
                coarser = max(float(a.scale), float(b.scale))
                limit = self.profile.stream_limit
                (names[0], a), (names[1], b) = (
                    self.rescaled(node, name, coarser, limit) for name in node.inputs
                )
        self.append(node, op, names, Unit(a.scale, a.offset + b.offset))
        self._clip(node)

    def _clip(self, node: Node) -> None:
        """Keep a sum within the range of its stream where neurons that read it could overflow otherwise."""
        name, limit = self.names[node.output], self.profile.stream_limit
        reach = max(map(abs, self.builder.types[name].kind.bounds))
        if not self.profile.rescales or reach <= self.profile.largest_current:
            return
        unit = self._unit(node.output)
        clipped = Rescale(np.ones((), np.int32), 0, -limit, limit)
        (own,) = self.builder.add(f"{name}.clipped", clipped, name, source=node.source)
        self.names[node.output] = own
        self.units[own] = self._aliases[node.output] = unit

    @_quantize.register
    def _matmul(self, op: MatMul, node: Node) -> None:
        (first, a), (second, b) = self._narrowed(node, op, [self._factor(node, n) for n in node.inputs])
        self.append(node, op, [first, second], Unit(a.scale * b.scale, np.zeros(())))

    @_quantize.register
    def _mul(self, op: Mul, node: Node) -> None:
        operands = [(self.names[name], self._unit(name)) for name in node.inputs]
        if any(np.any(unit.offset != 0) for _, unit in operands):
            operands = [self._factor(node, name) for name in node.inputs]
        (first, a), (second, b) = self._narrowed(node, op, operands)
        self.append(node, op, [first, second], Unit(a.scale * b.scale, np.zeros(())))

    @_quantize.register
    def _max_pool(self, op: MaxPool2d, node: Node) -> None:
        name, unit = self.names[node.inputs[0]], self._unit(node.inputs[0])
        arrays = [np.reshape(a, (1,) * (3 - a.ndim) + a.shape) for a in (unit.scale, unit.offset)]
        varies = any(size != 1 for array in arrays for size in array.shape[-2:])
        if varies or (unit.scale <= 0).any():
            if not self.profile.rescales:
                raise _NoIntegerFormError("SL0502", "pools values whose scale differs within a channel")
            name, unit = self._streamed(node, node.inputs[0])
        self.append(node, op, [name], unit)

    @_quantize.register
    def _reduce_sum(self, op: ReduceSum, node: Node) -> None:
        name, unit = self.names[node.inputs[0]], self._unit(node.inputs[0])
        shape = self.graph.types[node.inputs[0]].shape
        scale = np.reshape(unit.scale, (1,) * (len(shape) - unit.scale.ndim) + unit.scale.shape)
        if unit.scale.size != 1 and any(scale.shape[axis] != 1 for axis in op.axes):
            if not self.profile.rescales:
                raise _NoIntegerFormError("SL0502", "sums values of different scales")
            name, unit = self._streamed(node, node.inputs[0])
            scale = np.reshape(unit.scale, (1,) * len(shape))
        offset = compact(np.broadcast_to(unit.offset, shape).sum(op.axes))
        kept = [axis for axis in range(len(shape)) if axis not in op.axes]
        left = scale.reshape(()) if scale.size == 1 else scale.reshape([scale.shape[axis] for axis in kept])
        self.append(node, op, [name], Unit(left, offset))

    @_quantize.register
    def _time_mean(self, op: TimeMean, node: Node) -> None:
        x = self._unit(node.inputs[0])
        self._add(node, Accumulate(op.steps), Unit(x.scale / op.steps, x.offset))

    @_quantize.register
    def _accumulate(self, op: Accumulate, node: Node) -> None:
        x = self._unit(node.inputs[0])
        self._add(node, op, Unit(x.scale, x.offset * op.horizon))

    @_quantize.register
    def _leaky_sum(self, op: LeakySum, node: Node) -> None:
        step = DECAY_ONE >> self.profile.decay_bits
        keep = round(op.keep * DECAY_ONE / step) * step
        x = self._unit(node.inputs[0])
        attempts = [(self.names[node.inputs[0]], x)]
        if self.profile.rescales:
            attempts.append(self._streamed(node, node.inputs[0]))
        added = np.zeros(()) if op.bias is None else op.bias
        for name, x in attempts:
            scale = x.scale / 2**self.profile.fraction_bits
            bias = np.asarray(np.rint((x.offset + added) / scale).astype(np.int64))
            total = LeakySum(keep, bias if bias.any() else None, self.profile.fraction_bits, op.each_step)
            if not (fault := self._overflows(total, name)):
                self.append(node, total, [name], Unit(scale, np.zeros(())))
                return
        raise _NoIntegerFormError("SL0503", fault)

    @_quantize.register
    def _linear_state(self, op: LinearState, node: Node) -> None:
        if not self.profile.hosts:
            raise _NoIntegerFormError(
                "SL0501", "a linear memory needs wide products", "compile for the target onnx"
            )
        x = self._unit(node.inputs[0])
        limit = self.profile.stream_limit
        unit = HEADROOM * (self.activity.peaks[node.output] or 1.0) / limit
        shift = MEMORY_BITS - int(np.ceil(np.log2(max(float(np.abs(op.matrix).max()), 2.0**-8))))
        one = 2.0**shift
        matrix, gain, bias = (
            np.asarray(np.rint(real * one).astype(np.int64))
            for real in (op.matrix, op.gain * x.scale / unit, op.gain * x.offset / unit)
        )
        memory = LinearState(matrix, gain, bias if bias.any() else None, shift, limit)
        if fault := self._overflows(memory, self.names[node.inputs[0]]):
            raise _NoIntegerFormError("SL0503", fault)
        self._add(node, memory, Unit(np.array(unit), np.zeros(())))

    @_quantize.register
    def _step_affine(self, op: StepAffine, node: Node) -> None:
        if not self.profile.hosts:
            raise _NoIntegerFormError(
                "SL0502", "needs a unit of its own at each time step", "compile for the target onnx"
            )
        x, limit = self._unit(node.inputs[0]), self.profile.stream_limit
        scale = np.stack([of_step * x.scale for of_step in op.scale])
        offset = np.stack([a * x.offset + b for a, b in zip(op.scale, op.offset, strict=True)])
        peak = self.activity.peaks[node.output] or 1.0
        one, unit = rescaling(Unit(scale, offset), HEADROOM * peak / limit, limit)
        added = np.zeros(len(op.scale), np.int64) if one.offset is None else one.offset
        each = StepRescale(one.factor, one.shift, one.lo, one.hi, added)
        if fault := self._overflows(each, self.names[node.inputs[0]]):
            raise _NoIntegerFormError("SL0503", fault)
        self._add(node, each, Unit(np.array(unit), np.zeros(())))

    @_quantize.register(Delay)
    @_quantize.register(TimeGate)
    @_quantize.register(TimeWindow)
    def _later(self, op: Delay | TimeGate | TimeWindow, node: Node) -> None:
        """What has not arrived, or stands for no time, is 0.0; so 0 must stand for that."""
        name, x = self.names[node.inputs[0]], self._unit(node.inputs[0])
        if np.any(x.offset != 0):
            name, x = self._streamed(node, node.inputs[0])
        scale = x.scale
        if scale.size != 1 and isinstance(op, TimeWindow):
            full = np.broadcast_to(scale, self.graph.types[node.inputs[0]].shape)
            scale = compact(np.concatenate([full] * op.size, op.axis))
        self.append(node, op, [name], Unit(scale, np.zeros(())))

    @_quantize.register
    def _embedding(self, op: Embedding, node: Node) -> None:
        """Rows of spikes are exact; others get 16 bits."""
        name, x = self.names[node.inputs[0]], self._unit(node.inputs[0])
        if np.any(x.scale != 1) or np.any(x.offset != 0):
            raise _NoIntegerFormError("SL0501", "picks rows by something else than whole numbers")
        binary = bool(np.isin(op.weight, (0, 1)).all())
        unit = 1.0 if binary else float(np.abs(op.weight).max() or 1.0) / MAX_RANGE
        rows = np.rint(op.weight.astype(np.float64) / unit).astype(np.int32)
        self.append(node, Embedding(rows), [name], Unit(np.array(unit), np.zeros(())))

    @_quantize.register(Divide)
    @_quantize.register(Elementwise)
    @_quantize.register(GatedState)
    @_quantize.register(LayerNorm)
    @_quantize.register(Softmax)
    @_quantize.register(WeightedKeyValue)
    def _host(self, op: Op, node: Node) -> None:
        """What no spike drives: in fixed point where the target has a host for it."""
        if not self.profile.hosts:
            raise _NoIntegerFormError("SL0501", "is not spike-driven", "compile for the target onnx")
        HOST_RULES[type(op)](self, op, node)

    @_quantize.register
    def _pad(self, op: Pad, node: Node) -> None:
        if op.value != 0:
            raise _NoIntegerFormError("SL0501", f"pads with {op.value}")
        x = self._unit(node.inputs[0])
        rank = len(op.before)
        full = np.reshape(x.scale, (1,) * (rank - x.scale.ndim) + x.scale.shape)
        widths = [
            (b, a) if size > 1 else (0, 0) for b, a, size in zip(op.before, op.after, full.shape, strict=True)
        ]
        scale = np.pad(full, widths, mode="edge")
        offset = np.zeros(())
        if np.any(x.offset != 0):
            shape = self.graph.types[node.inputs[0]].shape
            offset = compact(op.evaluate(np.broadcast_to(x.offset, shape)[None])[0][0])
        self._add(node, op, Unit(compact(scale), offset))

    @_quantize.register(Broadcast)
    @_quantize.register(Reshape)
    @_quantize.register(Slice)
    @_quantize.register(Transpose)
    @_quantize.register(Split)
    @_quantize.register(Upsample2d)
    def _moves(self, op: Op, node: Node) -> None:
        self._moved(node, op, [(self.names[name], self._unit(name)) for name in node.inputs])

    @_quantize.register
    def _concat(self, op: Concat, node: Node) -> None:
        operands = [(self.names[name], self._unit(name)) for name in node.inputs]
        scales = {float(unit.scale.reshape(-1)[0]) for _, unit in operands}
        if len(scales) > 1 and all(unit.scale.size == 1 for _, unit in operands) and self.profile.rescales:
            operands = [self._streamed(node, name) for name in node.inputs]
        self._moved(node, op, operands)

    def _moved(self, node: Node, op: Op, operands: list[tuple[str, Unit]]) -> None:
        units = [unit for _, unit in operands]
        if (
            all(unit.scale.size == unit.offset.size == 1 for unit in units)
            and len({_pair(u) for u in units}) == 1
        ):
            moved = [units[0]] * len(node.outputs)
        else:
            shapes = [self.graph.types[name].shape for name in node.inputs]
            scales = op.evaluate(*(_full(u.scale, s) for u, s in zip(units, shapes, strict=True)))
            offsets = op.evaluate(*(_full(u.offset, s) for u, s in zip(units, shapes, strict=True)))
            moved = [
                Unit(compact(scale[0]), compact(offset[0]))
                for scale, offset in zip(scales, offsets, strict=True)
            ]
        self.append(node, op, [name for name, _ in operands], *moved)

    def _streamed(self, node: Node, name: str) -> tuple[str, Unit]:
        """An operand in the unit of its stream."""
        return self.rescaled(node, name, self._streams[name], self.profile.stream_limit)

    def _ranged(self, node: Node, name: str) -> tuple[str, Unit]:
        """A value alone, with twice its largest magnitude over the width of a stream."""
        limit = self.profile.stream_limit
        return self.rescaled(node, name, HEADROOM * (self.activity.peaks[name] or 1.0) / limit, limit)

    def _factor(self, node: Node, name: str) -> tuple[str, Unit]:
        """A factor of a product: it must have a scalar unit and no offset."""
        unit = self._unit(name)
        if unit.scale.size == 1 and not np.any(unit.offset != 0):
            return self.names[name], unit
        peak = self.activity.peaks[name] or 1.0
        return self.rescaled(node, name, HEADROOM * peak / FACTOR_RANGE, FACTOR_RANGE)

    def _narrowed(self, node: Node, op: Op, operands: list[tuple[str, Unit]]) -> list[tuple[str, Unit]]:
        """Factors so narrow that no sum of their products overflows, where the target can rescale."""
        if not self.profile.rescales or not self._overflows(op, *(name for name, _ in operands)):
            return operands
        narrow = []
        for name, (own, unit) in zip(node.inputs, operands, strict=True):
            wide = max(map(abs, self.builder.types[own].kind.bounds)) > FACTOR_RANGE
            peak = self.activity.peaks[name] or 1.0
            step = HEADROOM * peak / FACTOR_RANGE
            narrow.append(self.rescaled(node, name, step, FACTOR_RANGE) if wide else (own, unit))
        return narrow

    def rescaled(self, node: Node, name: str, wanted: float, limit: int) -> tuple[str, Unit]:
        """A value in another unit; the operation is written once and found again."""
        x = self._unit(name)
        if x.scale.size == 1 and float(x.scale.reshape(-1)[0]) == wanted and not np.any(x.offset != 0):
            return self.names[name], Unit(x.scale.reshape(()), np.zeros(()))
        if not self.profile.rescales:
            raise _NoIntegerFormError(
                "SL0502",
                "needs values in another unit, which the target cannot bring them to",
                "compile for the target onnx",
            )
        op, unit = rescaling(x, wanted, limit)
        wanted_name = f"{self.names[name]}.rescaled/{unit:.9g}/{limit}"
        own = self._found(wanted_name, op)
        if own is None:
            own = self.builder.unique(wanted_name)
            try:
                self.builder.add(own, op, self.names[name], source=node.source)
            except InternalError as error:
                raise _NoIntegerFormError(
                    "SL0502", f"cannot be rescaled: {error.problems[0].what}"
                ) from error
            self.units[own] = Unit(np.array(unit), np.zeros(()))
            self._rescalings.setdefault(wanted_name, []).append((own, op))
        return own, self.units[own]

    def _found(self, name: str, op: Rescale) -> str | None:
        """The node of that name that is the same operation.

        One integer may stand for several values, such as a sum and the same with a constant added: they
        are brought to a common unit by different factors and offsets.
        """
        for own, other in self._rescalings.get(name, []):
            if all(np.array_equal(value, getattr(other, key)) for key, value in vars(op).items()):
                return own
        return None

    def _add(self, node: Node, op: Op, *units: Unit) -> None:
        self.append(node, op, [self.names[name] for name in node.inputs], *units)

    def append(self, node: Node, op: Op, inputs: Sequence[str], *units: Unit) -> None:
        """The node of the integer graph that stands for a node."""
        outputs = self.builder.add(node.name, op, *inputs, source=node.source)
        for original, name, unit in zip(node.outputs, outputs, units, strict=True):
            self.names[original] = name
            self.units[name] = unit
            self._aliases[original] = unit

    def _unit(self, name: str) -> Unit:
        return self._aliases.get(name) or self.units[name]

    def _reads_out(self, node: Node) -> bool:
        """Whether the sums of a layer are the network's answer, perhaps summed over time."""
        name = node.output
        while name not in self.graph.outputs:
            users = self.graph.consumers.get(name, ())
            if len(users) != 1 or not isinstance(users[0].op, (Accumulate, LeakySum, TimeMean, Reshape)):
                return False
            name = users[0].output
        return True

    def _fired(self, node: Node) -> Fired | None:
        """The neuron that the sums of a layer drive; None if they drive none alone."""
        neuron = driven_neuron(self.graph, node)
        if neuron is not None:
            assert isinstance(neuron.op, Neuron)
            return Fired(neuron.op.threshold / neuron.op.gain)
        if self.profile.rescales or node.name in self._group_of:
            return None
        if any(isinstance(user.op, Add) for user in self.graph.consumers.get(node.output, ())):
            raise _NoIntegerFormError(
                "SL0502",
                "its sums are added to others before a neuron fires, each of another scale",
                "compile for the target onnx, which rescales them",
            )
        raise _NoIntegerFormError("SL0501", "its sums drive neither one neuron layer nor an output alone")

    def _grid(
        self, node: Node, weight: Array, fired: Fired | None, scale: float, reads_out: bool
    ) -> GridWeights:
        halvings = self.halvings.get(node.name, 0) - (node.name in self.narrowed)
        moment = self.activity.moments[node.name] / scale**2
        profile, within = self._grid_of(node), self.rounding.within
        free = profile.threshold_groups is None and not reads_out and halvings == 0
        grid = trained_grid(weight, profile) if free else None
        taken_over = grid is not None
        if grid is None:
            if node.name in self._group_of:
                steps = self._shared_steps(node, shared_step(weight, moment, profile, 2.0**halvings, within))
            elif reads_out:
                steps = shared_step(weight, moment, profile, 2.0**halvings, within)
            elif fired is None or profile.threshold_groups is None:
                steps = free_steps(weight, moment, profile, 2.0**halvings, within)
            else:
                steps = grouped_steps(weight, moment, fired, profile, 2.0**halvings, within)
            grid = round_weights(weight, steps, moment, profile)
        integers = grid.integers.astype(int)
        largest = int(np.abs(integers).max())
        bits = profile.weight_bits
        if taken_over:
            bits = max(2, 1 + int(max(integers.max(), -1 - integers.min())).bit_length())
        kinds = len(np.unique(grid.steps))
        self.grids.append(LayerGrid(node.name, bits, largest, kinds, grid.error, halvings, taken_over))
        self.steps[node.name] = grid.steps / scale
        return grid

    def _shared_steps(self, node: Node, alone: Array) -> Array:
        """The step of a layer whose sums are added to others': as coarse as the coarsest of them needs."""
        self._wanted[node.name] = float(alone.max())
        return np.full_like(alone, max(self.shared.get(node.name, 0.0), float(alone.max())))

    def _grid_of(self, node: Node) -> NumericProfile:
        """The profile with the width of this layer's weights."""
        return self.rounding.profile(node.name, self.profile)

    def _overflows(self, integer: Op, *names: str) -> str:
        """Why an operation cannot hold what a value gives it; "" if it can."""
        try:
            integer.infer(*(self.builder.types[name] for name in names))
        except RuleBrokenError as error:
            return str(error)
        return ""

    def _layers_before(self, neuron: Node) -> list[str]:
        """The layers whose sums a neuron layer integrates, and no other does."""
        return [
            node.name
            for node in self.graph.nodes
            if isinstance(node.op, (Convolution, Linear)) and driven_neuron(self.graph, node) is neuron
        ]

    def _joined_before(self, neuron: Node) -> list[str]:
        """The layers whose added sums a neuron layer integrates, where they share a step."""
        name = neuron.inputs[0]
        while (node := self.graph.producers.get(name)) is not None and isinstance(node.op, JOINING):
            name = node.inputs[0]
        return sorted(self._group_of.get(node.name, ())) if node is not None else []

    def _spreads_thresholds(self, neuron: Node, unit: Unit) -> bool:
        """Whether channels count in units of their own, and the target has few thresholds a population."""
        few = self.profile.threshold_groups is not None and self.profile.rescales
        return few and unit.scale.size > 1 and not self._layers_before(neuron)

    def _overflow(self, neuron: Node, reason: str) -> None:
        layers = self._layers_before(neuron) or self._joined_before(neuron)
        widths = (self.rounding.profile(layer, self.profile).weight_bits for layer in layers)
        spent = [self.halvings.get(layer, 0) >= bits - 2 for layer, bits in zip(layers, widths, strict=True)]
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
