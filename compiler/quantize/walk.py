"""The walk of the quantizer over a graph, with what its rules share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage, Unit
from spikeloom.compiler.graph.kinds import Kind, Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.quantize.activity import Activity
from spikeloom.compiler.quantize.driven import driven_neuron
from spikeloom.compiler.quantize.rule import rules
from spikeloom.compiler.quantize.streams import HEADROOM, joint_layers, rescaling, stream_units
from spikeloom.compiler.quantize.thresholds import RoundingBound
from spikeloom.compiler.quantize.weights import (
    Fired,
    GridWeights,
    Range,
)
from spikeloom.errors import InternalError, Problem, UnsupportedError

PLAIN = Unit(np.ones(()), np.zeros(()))
MIN_RANGE, MAX_RANGE = 2**7 - 1, 2**15 - 1
"""A value between weights and weights has 8 to 16 bits, so many that sums stay exact in float32."""
FACTOR_RANGE = 2**10 - 1
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
        together: whether each weight became one of its two neighbours, by the error of the sums, and not the
            nearest.
    """

    layer: str
    bits: int
    largest: int
    steps: int
    error: float
    halvings: int
    taken_over: bool = False
    together: bool = False


class NoIntegerFormError(Exception):
    """A node cannot be quantized; the problem is in the argument."""

    def __init__(self, code: str, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.code, self.what, self.remedy = code, what, remedy


Settings = tuple[Fired | None, float, bool, int, float]
"""What rounding depends on: the neuron that a layer drives, the scale of its input, whether the layer is read
out, how often its step was doubled, and the step that it shares."""


@dataclass(frozen=True)
class Rounded:
    """Rounded weights of a layer, kept from walk to walk.

    Attributes:
        settings: that they were rounded with.
        grid: the integers and their steps.
        report: of the layer.
        wanted: the step that the layer itself needs, where it shares one with others.
    """

    settings: Settings
    grid: GridWeights
    report: LayerGrid
    wanted: float | None


@dataclass
class Walk:
    """One pass over a canonical graph: what rules read, and the integer graph that they write."""

    graph: Graph
    profile: NumericProfile
    activity: Activity
    horizon: int
    halvings: Mapping[str, int]
    shared: Mapping[str, float]
    given: Mapping[str, tuple[Kind, Unit]]
    rounding: Rounding
    rounded: dict[str, Rounded]
    bounds: dict[str, RoundingBound] = field(default_factory=dict)
    grids: list[LayerGrid] = field(default_factory=list)
    steps: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.builder = GraphBuilder(self.graph.name, Stage.INTEGER, self.profile.name)
        self.units = self.builder.units
        self.names: dict[str, str] = {}
        self.aliases: dict[str, Unit] = {}
        self._rescalings: dict[str, list[tuple[str, Rescale]]] = {}
        self.problems: list[Problem] = []
        self.overflowing: set[str] = set()
        self.broken: set[str] = set()
        self.narrowed: set[str] = set()
        self.wide: set[str] = set()  # layers whose input no sum behind them leaves enough digits
        self._joint = [] if self.profile.rescales else joint_layers(self.graph)
        self.group_of = {layer: group for group in self._joint for layer in group}
        self.wanted: dict[str, float] = {}
        self.streams = stream_units(self.graph, self.activity.peaks, self.profile.stream_limit)

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
                self.units[self.names[name]] = self.unit(name)
        return self.overflowing

    @property
    def settled(self) -> bool:
        """Whether steps to be shared are known; the first walk finds them, and its result is not used."""
        return bool(self.shared) or not self._joint

    @property
    def needed(self) -> dict[str, float]:
        """The step that layers need to share, of each layer whose sums are added to others'.

        A layer behind an overflow is not reached; it is taken to need what it needed before.
        """
        known = {**self.shared, **self.wanted}
        steps = {group: max(known.get(layer, 0.0) for layer in group) for group in self._joint}
        return {layer: steps[group] for layer, group in self.group_of.items()}

    def _quantize(self, node: Node) -> None:
        found = next((rules()[kind] for kind in type(node.op).__mro__ if kind in rules()), None)
        if found is None:
            raise NoIntegerFormError("SL0501", f"{node.op.name} has no integer form")
        found(self, node.op, node)

    def _visit(self, node: Node) -> None:
        try:
            self._quantize(node)
        except NoIntegerFormError as error:
            self.problems.append(
                Problem(error.code, f"{node.name} at {node.source}", error.what, remedy=error.remedy)
            )
            self.broken.update(node.outputs)
        except UnsupportedError as error:
            self.problems += error.problems
            self.broken.update(node.outputs)

    def streamed(self, node: Node, name: str) -> tuple[str, Unit]:
        """An operand in the unit of its stream."""
        return self.rescaled(node, name, self.streams[name], self.profile.stream_limit)

    def ranged(self, node: Node, name: str) -> tuple[str, Unit]:
        """A value alone, with twice its largest magnitude over the width of a stream."""
        limit = self.profile.stream_limit
        return self.rescaled(node, name, HEADROOM * (self.activity.peaks[name] or 1.0) / limit, limit)

    def factor(self, node: Node, name: str) -> tuple[str, Unit]:
        """A factor of a product: it must have a scalar unit and no offset."""
        unit = self.unit(name)
        if unit.scale.size == 1 and not np.any(unit.offset != 0):
            return self.names[name], unit
        peak = self.activity.peaks[name] or 1.0
        return self.rescaled(node, name, HEADROOM * peak / FACTOR_RANGE, FACTOR_RANGE)

    def narrow_operands(self, node: Node, op: Op, operands: list[tuple[str, Unit]]) -> list[tuple[str, Unit]]:
        """Factors so narrow that no sum of their products overflows, where the target can rescale."""
        if not self.profile.rescales or not self.overflows(op, *(name for name, _ in operands)):
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
        x = self.unit(name)
        if x.scale.size == 1 and float(x.scale.reshape(-1)[0]) == wanted and not np.any(x.offset != 0):
            return self.names[name], Unit(x.scale.reshape(()), np.zeros(()))
        if not self.profile.rescales:
            raise NoIntegerFormError(
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
                raise NoIntegerFormError("SL0502", f"cannot be rescaled: {error.problems[0].what}") from error
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

    def add(self, node: Node, op: Op, *units: Unit) -> None:
        """The node of the integer graph, of the same inputs."""
        self.append(node, op, [self.names[name] for name in node.inputs], *units)

    def append(self, node: Node, op: Op, inputs: Sequence[str], *units: Unit) -> None:
        """The node of the integer graph that stands for a node."""
        outputs = self.builder.add(node.name, op, *inputs, source=node.source)
        for original, name, unit in zip(node.outputs, outputs, units, strict=True):
            self.names[original] = name
            self.units[name] = unit
            self.aliases[original] = unit

    def unit(self, name: str) -> Unit:
        """What the integers of a value mean."""
        return self.aliases.get(name) or self.units[name]

    def grid_of(self, node: Node) -> NumericProfile:
        """The profile with the width of this layer's weights."""
        return self.rounding.profile(node.name, self.profile)

    def overflows(self, integer: Op, *names: str) -> str:
        """Why an operation cannot hold what a value gives it; "" if it can."""
        try:
            integer.infer(*(self.builder.types[name] for name in names))
        except RuleBrokenError as error:
            return str(error)
        return ""

    def layers_before(self, neuron: Node) -> list[str]:
        """The layers whose sums a neuron layer integrates, and no other does."""
        return [
            node.name
            for node in self.graph.nodes
            if isinstance(node.op, (Convolution, Linear)) and driven_neuron(self.graph, node) is neuron
        ]

    def joined_before(self, neuron: Node) -> list[str]:
        """The layers whose added sums a neuron layer integrates, where they share a step."""
        name = neuron.inputs[0]
        while (node := self.graph.producers.get(name)) is not None and isinstance(node.op, JOINING):
            name = node.inputs[0]
        return sorted(self.group_of.get(node.name, ())) if node is not None else []

    def overflow(self, neuron: Node, reason: str) -> None:
        """Double the step of the layers whose sums a neuron integrates, in another walk."""
        if not self.can_be_coarser(neuron):
            raise NoIntegerFormError("SL0503", reason, "use a target with a wider state")
        self.overflowing.update(self._coarsened(neuron))
        self.broken.update(neuron.outputs)

    def can_be_coarser(self, neuron: Node) -> bool:
        """Whether the layers whose sums a neuron integrates keep two bits if their step is doubled again."""
        layers = self._coarsened(neuron)
        widths = (self.rounding.profile(layer, self.profile).weight_bits for layer in layers)
        within = [self.halvings.get(layer, 0) < bits - 2 for layer, bits in zip(layers, widths, strict=True)]
        return bool(layers) and all(within)

    def _coarsened(self, neuron: Node) -> list[str]:
        return self.layers_before(neuron) or self.joined_before(neuron)
