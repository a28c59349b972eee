"""From a captured program to a graph: the walk, and the registry of rules for ATen operations.

A rule takes one call of an ATen operation and appends the nodes that mean it; one file of
:mod:`spikeloom.compiler.frontends.torch.rules` holds the rules of one family. Everything that no
rule covers, or that mixes time or batch with other axes, is collected and reported at once.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from spikeloom.compiler.frontends.torch.axes import (
    CAPTURES,
    OWN,
    Captures,
    Lead,
    NoCounterpartError,
    Shape,
    Sizes,
    classify,
)
from spikeloom.compiler.frontends.torch.libraries.library import NEVER_REACHED
from spikeloom.compiler.graph.graph import GraphBuilder, Node
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.source import Source
from spikeloom.errors import InternalError, Problem

ROUNDED_BY_ROWS = frozenset({"linear", "matmul", "mm", "bmm", "addmm", "conv1d", "conv2d", "layer_norm"})
"""Operations whose float results may depend on how many rows are computed together."""

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


@dataclass(frozen=True)
class Value:
    """A value of the graph, as one tensor of the captured program shows it.

    Attributes:
        name: in the graph.
        lead: the time and batch axes in front of a sample's own.
        shape: of a sample.
        spread: what each axis is (T, B or :data:`OWN`), where time and batch do not stand in front.
        margin: how many zeros the axis of time has before and after the sample.
        overtime: how many steps the sample has more than the input's.
    """

    name: str
    lead: Lead
    shape: Shape
    spread: tuple[str, ...] = ()
    margin: tuple[int, int] = (0, 0)
    overtime: int = 0

    @property
    def tags(self) -> tuple[str, ...]:
        """What each axis of the tensor is."""
        return self.spread or (*self.lead.tags, *(OWN for _ in self.shape))


@dataclass(frozen=True)
class Spectrum:
    """A value transformed along time, as one factor of a convolution.

    Attributes:
        value: that was transformed.
        kernel: the other factor [channels, frequencies], once it is known.
    """

    value: Value
    kernel: Tensor | None = None


@dataclass(frozen=True)
class Masked:
    """A value of which some elements are minus infinity: nothing, behind a softmax.

    Attributes:
        value: all of it.
        kept: booleans that broadcast against a sample.
    """

    value: Value
    kept: Array


@dataclass(frozen=True)
class Pairs:
    """A value whose last axis, of two elements, is taken for the parts of complex numbers."""

    value: Value


@dataclass(frozen=True)
class Folded:
    """A value whose tensor folds time or samples with other axes, by a reshape that may be undone.

    Attributes:
        value: the same elements in the same order, with an axis for each.
        counts: of how many axes of ``value`` each axis of the tensor is made; none where an axis of the
            tensor cuts through time or samples, so that only the order of elements is known.
        source: of the reshape.
        fault: what the reshape did, in words.
    """

    value: Value
    counts: tuple[int, ...]
    source: Source
    fault: str

    def around(self, value: Value, counts: tuple[int, ...] | None = None) -> Operand:
        """Another value with its axes folded like this one's; as a value again where nothing is."""
        counts = self.counts if counts is None else counts
        if all(count == 1 for count in counts):
            return value
        if counts[0] == 2 and all(count == 1 for count in counts[1:]):
            if value.lead is Lead.TIME_BATCH:
                return replace(value, lead=Lead.FOLDED)
            if value.lead is Lead.BATCH_TIME:
                return replace(value, lead=Lead.FOLDED_BATCH_FIRST)
        return replace(self, value=value, counts=counts)

    def places(self, axis: int) -> list[int]:
        """The axes of ``value`` that one of the tensor's is made of.

        Raises:
            StillFoldedError: that is not known.
        """
        if not self.counts:
            raise StillFoldedError(self)
        axis %= len(self.counts)
        first = sum(self.counts[:axis])
        return list(range(first, first + self.counts[axis]))


class StillFoldedError(NoCounterpartError):
    """An operation needs axes apart that are folded."""

    def __init__(self, operand: Folded) -> None:
        super().__init__(operand.fault)
        self.operand = operand


Operand = Value | Spectrum | Masked | Pairs | Folded | Tensor | tuple[Value, ...] | None
Hidden = (Spectrum, Masked, Pairs, Folded)
"""Operands that only some rules take."""
Rule = Callable[["Lowering", "Call"], Operand]
_RULES: dict[str, Rule] = {}
_ANY_LAYOUT: set[str] = {"getitem"}
_FOLDS: set[str] = {"neuron"}


def rule(*names: str, any_layout: bool = False, folds: bool = False) -> Callable[[Rule], Rule]:
    """Declare a function to be the rule of ATen operations such as ``conv2d`` or ``add.Tensor``.

    Args:
        names: of the operations.
        any_layout: whether the rule follows the axes of time and batch itself, wherever they stand.
        folds: whether it also follows them where they are folded with other axes.
    """

    def declare(function: Rule) -> Rule:
        for name in names:
            if _RULES.setdefault(name, function) is not function:
                raise KeyError(f"two rules for aten.{name}")
        if any_layout or folds:
            _ANY_LAYOUT.update(names)
        if folds:
            _FOLDS.update(names)
        return function

    return declare


@cache
def _load_rules() -> None:
    package = importlib.import_module("spikeloom.compiler.frontends.torch.rules")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def supported_operations() -> list[str]:
    """Names of the ATen operations that have a rule, sorted."""
    _load_rules()
    return sorted(_RULES)


@dataclass(frozen=True)
class View:
    """A value that is a piece of another: elements start..stop along one axis of a sample."""

    base: str
    axis: int
    start: int
    stop: int


@dataclass(frozen=True)
class Border:
    """The border that a padding has made, and what was written over its zeros.

    Attributes:
        before, after: how wide it is, for each axis of a sample.
        values: of the padded shape; zeros but for the border.
    """

    before: Shape
    after: Shape
    values: Array

    def holds(self, view: View) -> bool:
        """Whether a piece lies in the border."""
        first = self.values.shape[view.axis] - self.after[view.axis]
        return view.stop <= self.before[view.axis] or view.start >= first


@dataclass(frozen=True)
class Memory:
    """A linear memory m <- A m + B u, and the kernel with which a model computes it in frequencies.

    Attributes:
        kernel: [channels, frequencies], complex: the transform of B, A B, A^2 B ...
        matrix: A [n, n].
        given: B [n, 1].
    """

    kernel: Tensor
    matrix: Tensor
    given: Tensor


class _PotentialReadError(Exception):
    """A program holds the potentials of neurons that fire; it may not need them."""


@dataclass
class Call:
    """One call of the captured program.

    Attributes:
        node: of the captured program.
        arguments: by the names of the ATen schema; tensors of the program as operands.
        lead, shape: of the first result; its time and batch axes, and a sample's own axes.
        source: for errors and the graph.
        shapes: of the first result in the two captures.
    """

    node: fx.Node
    arguments: dict[str, Any]
    lead: Lead
    shape: Shape
    source: Source
    shapes: tuple[Shape, Shape]

    def value(self, name: str) -> Value:
        """An argument that must be a value of the graph."""
        operand = self.arguments[name]
        if isinstance(operand, Masked):
            raise NoCounterpartError("parts of its operand are minus infinity, which only a softmax takes")
        if isinstance(operand, Pairs):
            raise NoCounterpartError("its operand is complex")
        if isinstance(operand, Folded):
            raise StillFoldedError(operand)
        if not isinstance(operand, Value):
            raise NoCounterpartError(f"its argument {name} does not depend on the input")
        return operand

    def array(self, name: str) -> Array | None:
        """An argument that must be a constant, as an array; None stays None."""
        operand = self.arguments[name]
        if operand is None:
            return None
        if not isinstance(operand, Tensor):
            raise NoCounterpartError(f"its argument {name} depends on the input")
        array: Array = operand.detach().cpu().numpy()
        return array

    def weight_argument(self) -> str:
        """The name, in the captured program, of the argument ``weight``; "" if there is none."""
        for parameter, given in zip(_schema(self.node), self.node.args, strict=False):
            if parameter == "weight" and isinstance(given, fx.Node):
                return given.name
        return ""

    def own_axis(self, axis: int, value: Value) -> int:
        """An axis of the captured tensor as an axis of a sample.

        Raises:
            NoCounterpartError: it is a time or batch axis.
        """
        place = axis % len(value.tags)
        if value.tags[place] != OWN:
            raise NoCounterpartError("it works along the time or batch axis")
        return value.tags[:place].count(OWN)


@dataclass
class Lowering:
    """The state of the walk.

    Attributes:
        builder: of the graph.
        neurons: path and equation of each neuron layer, by the index of its opaque operation.
        leads: for each node, the time and batch axes with which PyTorch called it.
        weights: for each node with stored weights, the path of that parameter in the model; absent
            where the weights are computed from parameters.
        divisors: for each scale that PyTorch computes by a division, what it divides by.
        joint: for each reduction that PyTorch computes together with one over time, the node of that
            one, and the axes of [T, B, ...].
        parameters: paths in the model by the names of the captured program.
        single_step: paths of the neuron layers that take their whole input for one time step.
        batch: with how many samples constants were computed that PyTorch rounds by their number; 0 if none.
        volumes: for each convolution over two axes that PyTorch computes over three, which of them is time.
        readouts: for each node that gives the potentials of a neuron layer, the node before it and the
            path of the layer.
        layouts: for each neuron layer whose samples do not stand behind time, what its axes are.
        memories: linear memories that the model computes by Fourier transforms.
        buffers: tensors that the model stores, by module.
        over_samples: paths of the neuron layers that run on from one sample of a batch to the next.
        leaks: for each neuron layer whose potentials may be read, one that never fires with the same.
        loops: whether the model loops over time itself, and was captured for one turn.
        sizes: of the two captures; the steps of a model that repeats its input are found on the way.
        steps: how many the network runs; 0 if not known.
        views: for each value that is a piece of another, which.
        borders: for each value that was padded and overwritten in part, its border.
        unread: what stands in the way if the model's answer depends on it: potentials of neurons that fire.
        problems: what stands in the way.
    """

    builder: GraphBuilder
    neurons: list[tuple[str, Neuron | EquationNeuron]]
    leads: dict[str, Lead] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    divisors: dict[str, Array] = field(default_factory=dict)
    joint: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    single_step: set[str] = field(default_factory=set)
    over_samples: list[str] = field(default_factory=list)
    volumes: dict[str, int] = field(default_factory=dict)
    batch: int = 0
    readouts: dict[str, tuple[str, str]] = field(default_factory=dict)
    layouts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    memories: list[Memory] = field(default_factory=list)
    buffers: Mapping[str, list[Tensor]] = field(default_factory=dict)
    leaks: Mapping[str, Neuron] = field(default_factory=dict)
    loops: bool = False
    sizes: Captures = CAPTURES
    steps: int = 0
    views: dict[str, View] = field(default_factory=dict)
    borders: dict[str, Border] = field(default_factory=dict)
    unread: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    operands: dict[str, Operand] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    def emit(
        self, call: Call, op: Op, *inputs: Value, name: str = "", lead: Lead | None = None
    ) -> list[Value]:
        """Append a node; returns its outputs, seen with the time and batch axes of the call.

        Raises:
            NoCounterpartError: the operands are laid out differently, or break the operation's rule.
        """
        if any(any(value.margin) for value in inputs):
            raise NoCounterpartError("its operand goes on in time before or after the sample")
        layouts = dict.fromkeys(_layout(value) for value in inputs)
        if len({value.overtime for value in inputs}) > 1:
            raise NoCounterpartError("its operands have different numbers of time steps")
        if len(layouts) > 1:
            raise NoCounterpartError(f"its operands are laid out as [{'] and ['.join(layouts)}]")
        node = self.builder.unique(name or _node_name(call))
        try:
            outputs = self.builder.add(node, op, *(value.name for value in inputs), source=call.source)
        except InternalError as error:
            raise NoCounterpartError(error.problems[0].what) from error
        self.leads[node] = Lead.BATCH if inputs[0].spread else inputs[0].lead
        weight = call.weight_argument()
        if weight in self.parameters:
            self.weights[node] = self.parameters[weight]
        seen = call.lead if lead is None else lead
        if inputs[0].spread or seen is Lead.SPREAD:
            seen = inputs[0].lead
        spread, overtime = inputs[0].spread, inputs[0].overtime
        shapes = (self.builder.types[output].shape for output in outputs)
        return [
            Value(output, seen, shape, spread, overtime=overtime)
            for output, shape in zip(outputs, shapes, strict=True)
        ]

    def producer(self, value: Value) -> Node:
        """The node that gives a value.

        Raises:
            NoCounterpartError: it is an input.
        """
        node = self.builder.build().producers.get(value.name)
        if node is None:
            raise NoCounterpartError("its operand is the network's input")
        return node

    def takes_turn(self, x: Value, dim: int) -> bool:
        """Whether an axis is that of time, in a model that loops over it: its body is captured once."""
        return self.loops and not x.spread and x.tags[dim % len(x.tags)] == "T"

    def walk(self, nodes: Iterator[tuple[fx.Node, fx.Node]], constants: Mapping[str, Tensor]) -> None:
        """Lower every call that an output depends on, in order; ``nodes`` pairs the two captures."""
        _load_rules()
        pairs = list(nodes)
        needed = _needed([node for node, _ in pairs])
        for node, twin in pairs:
            if node.op == "call_function" and node.name in needed:
                self._lower(node, twin)
            elif node.op == "placeholder" and node.name in constants:
                self.operands[node.name] = constants[node.name]

    def _lower(self, node: fx.Node, twin: fx.Node) -> None:
        if self._depends_on_broken(node):
            self.broken.add(node.name)
            return
        where = _source(node)
        if not self._depends_on_input(node):
            self._fold(node, where)
            if _name(node) in ROUNDED_BY_ROWS and _first_shape(node) != _first_shape(twin):
                self.batch = self.sizes[0].batch
            return
        self._find_steps(node, twin)
        operands = self._values(node)
        has_time = any(value.lead.has_time for value in operands)
        overtime = max((value.overtime for value in operands), default=0)
        sizes = (self.sizes[0].longer(overtime), self.sizes[1].longer(overtime))
        shapes = (_first_shape(node), _first_shape(twin))
        axes = classify(*shapes, sizes, has_time)
        folds = [o for o in self._operands(node) if isinstance(o, Folded)]
        fires = _name(node) in ("neuron", "potential")
        if folds and _name(node) not in _FOLDS:
            self._refuse_fold(node, folds[0])
            return
        if _name(node) in _ANY_LAYOUT or (fires and (folds or any(value.spread for value in operands))):
            axes = axes or (Lead.SPREAD, ())
        elif strange := [value for value in operands if value.spread or any(value.margin)]:
            fault = f"mixes time or batch with other axes: a value laid out as [{_layout(strange[0])}]"
            self._refuse(node, "SL0303", where, f"{_name(node)} {fault}")
            return
        elif axes is None or axes[0] is Lead.NONE:
            self._refuse(
                node, "SL0303", where, f"{_name(node)} mixes time or batch with other axes: {_shapes(node)}"
            )
            return
        lead, shape = axes
        self._apply(node, Call(node, self._bind(node), self._fold_order(node, lead), shape, where, shapes))

    def _find_steps(self, node: fx.Node, twin: fx.Node) -> None:
        """Where a model repeats a frame over time: [1, B, ...] becomes [T, B, ...]."""
        shapes = (_first_shape(node), _first_shape(twin))
        if self.sizes[0].steps != 1 or _name(node) not in ("repeat", "expand"):
            return
        before = _first_shape(node.all_input_nodes[0])
        batch = tuple(size.batch for size in self.sizes)
        heads = [shape[0] for shape in shapes]
        if before[:1] == (1,) and tuple(shape[1] for shape in shapes) == batch and heads[0] == heads[1] > 1:
            self.sizes = (Sizes(heads[0], batch[0]), Sizes(heads[0], batch[1]))
            self.steps = heads[0]

    def _operands(self, node: fx.Node) -> list[Any]:
        """The operands of a call, parts of a split one by one."""
        operands = [self.operands[n.name] for n in node.all_input_nodes]
        return [part for o in operands for part in (o if isinstance(o, (list, tuple)) else (o,))]

    def _values(self, node: fx.Node) -> list[Value]:
        """The operands of a call that depend on the input."""
        whole = [part.value if isinstance(part, Hidden) else part for part in self._operands(node)]
        return [part for part in whole if isinstance(part, Value)]

    def _apply(self, node: fx.Node, call: Call) -> None:
        try:
            if _name(node) == "neuron":
                self.operands[node.name] = self._neuron(call)
            elif _name(node) == "potential":
                self.operands[node.name] = self._readout(call)
            elif _name(node) == "getitem":
                self.operands[node.name] = self._getitem(node)
            elif _name(node) in _RULES:
                self.operands[node.name] = _RULES[_name(node)](self, call)
            else:
                raise NoCounterpartError("there is no rule for it")
        except _PotentialReadError as error:
            self.broken.add(node.name)
            self.unread.append(Problem("SL0302", str(call.source), str(error)))
        except StillFoldedError as error:
            self._refuse_fold(node, error.operand)
        except NoCounterpartError as error:
            self._refuse(node, "SL0302", call.source, f"{_name(node)} has no counterpart: {error}")

    def _neuron(self, call: Call) -> Operand:
        operand = call.arguments["x"]
        folded = operand if isinstance(operand, Folded) else None
        x = call.value("x") if folded is None else folded.value
        path, equation = self.neurons[call.arguments["index"]]
        one_step = self.sizes[0].steps == 1
        if path in self.single_step and not equation.memoryless and not one_step:
            raise NoCounterpartError(
                f"the neuron {path} is in single-step mode and takes the axis of time for a batch; "
                "call functional.set_step_mode(model, 'm')"
            )
        any_layout = path in self.single_step or equation.memoryless
        if any(x.margin):
            raise NoCounterpartError(f"the neuron {path} runs on before or after the sample")
        if folded is None and not any_layout and x.lead in (Lead.FOLDED, Lead.FOLDED_BATCH_FIRST):
            self.over_samples.append(path)
        elif not any_layout and (x.tags[0] != "T" or (folded is not None and folded.places(0) != [0])):
            where = _layout(x) if folded is None else _folds(folded)
            raise NoCounterpartError(f"the neuron {path} runs along axis 0 of [{where}], which is not time")
        if path in {node.name for node in self.builder.build().nodes}:
            raise NoCounterpartError(f"the neuron {path} is called twice, and its state is shared")
        (spikes,) = self.emit(call, equation, x, name=path, lead=x.lead)
        if x.spread:
            self.leads[path] = Lead.TIME_BATCH
        if x.spread or folded is not None:
            self.layouts[path] = x.tags
        return spikes if folded is None else folded.around(spikes)

    def _readout(self, call: Call) -> Value:
        """The potentials of a neuron that never fires: a leaky sum of its input."""
        x = call.value("x")
        path, equation = self.neurons[call.arguments["index"]]
        equation = self.leaks.get(path, equation)
        if isinstance(equation, EquationNeuron) or equation.threshold < NEVER_REACHED:
            raise _PotentialReadError(f"it reads the potentials of the neuron {path}, which may fire")
        one_step = self.sizes[0].steps == 1
        if not one_step and (path in self.single_step or x.tags[0] != "T"):
            raise NoCounterpartError(f"the neuron {path} runs along another axis than time")
        first = x
        if equation.current_decay is not None:
            current = LeakySum(equation.current_decay, each_step=True)
            (x,) = self.emit(call, current, x, name=f"{path}.i", lead=x.lead)
        gain = Affine(np.array(equation.gain), np.array(equation.drift))
        (driven,) = self.emit(call, gain, x, name=f"{path}.drive", lead=x.lead)
        total = LeakySum(equation.decay, each_step=True)
        (potentials,) = self.emit(call, total, driven, name=f"{path}.v", lead=x.lead)
        before = driven.name if first is x else x.name
        self.readouts[potentials.name] = (before, path)
        return potentials

    def _getitem(self, node: fx.Node) -> Operand:
        source, index = node.args
        parts = self.operands[source.name] if isinstance(source, fx.Node) else None
        if not isinstance(parts, tuple) or not isinstance(index, int):
            raise NoCounterpartError("only the parts of a split are picked")
        return parts[index]

    def _bind(self, node: fx.Node) -> dict[str, Any]:
        if not isinstance(node.target, torch._ops.OpOverload):
            return {}
        arguments = {}
        for index, parameter in enumerate(node.target._schema.arguments):
            given = node.args[index] if index < len(node.args) else node.kwargs.get(parameter.name)
            absent = index >= len(node.args) and parameter.name not in node.kwargs
            arguments[parameter.name] = self._operand(parameter.default_value if absent else given)
        return arguments

    def _operand(self, argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            return self.operands[argument.name]
        if isinstance(argument, (list, tuple)):
            return [self._operand(item) for item in argument]
        return argument

    def _fold(self, node: fx.Node, where: Source) -> None:
        """Evaluate what does not depend on the input, once."""
        if _name(node) in ("neuron", "potential"):
            path, _ = self.neurons[node.args[1]]  # type: ignore[index]
            fault = f"the neuron {path} runs on a constant, and would have to be run at every step"
            self._refuse(node, "SL0302", where, fault)
            return

        def load(argument: fx.Node) -> Any:
            return self.operands[argument.name]

        arguments = fx.map_arg(node.args, load)
        keywords = fx.map_arg(node.kwargs, load)
        assert callable(node.target)
        self.operands[node.name] = node.target(*arguments, **keywords)

    def _depends_on_input(self, node: fx.Node) -> bool:
        return any(_holds_value(self.operands[n.name]) for n in node.all_input_nodes)

    def _fold_order(self, node: fx.Node, lead: Lead) -> Lead:
        """Whether time or batch is outer in a folded axis: shapes do not tell, the operands do."""
        outer = {operand.lead.outer for operand in self._values(node)}
        return Lead.FOLDED_BATCH_FIRST if lead is Lead.FOLDED and outer == {"B"} else lead

    def _depends_on_broken(self, node: fx.Node) -> bool:
        return any(n.name in self.broken for n in node.all_input_nodes)

    def _refuse_fold(self, node: fx.Node, operand: Folded) -> None:
        """What stands in the way is the reshape that nothing has undone before this call."""
        at = _source(node)
        place = f" at {at.file}:{at.line}" if at.file else ""
        fault = f"{operand.fault}; {_name(node)}{place} needs them apart"
        self._refuse(node, "SL0303", operand.source, fault)

    def _refuse(self, node: fx.Node, code: str, where: Source, fault: str) -> None:
        self.broken.add(node.name)
        self.problems.append(Problem(code, str(where), fault))


def constant_of(operand: object, x: Value) -> Array:
    """A number or tensor as an array that broadcasts against a sample."""
    if isinstance(operand, Real):
        return np.array(operand, np.float32)
    if not isinstance(operand, Tensor):
        raise NoCounterpartError("one operand is neither a value nor a constant")
    array: Array = operand.detach().cpu().numpy()
    padded = array.reshape((1,) * (len(x.tags) - array.ndim) + array.shape)
    return _single(padded, [place for place, tag in enumerate(x.tags) if tag != OWN])


def constants_of_steps(operand: object, x: Value) -> Array | None:
    """A tensor that differs from step to step as an array [steps, ...]; None if it is no such tensor."""
    if not isinstance(operand, Tensor) or "T" not in x.tags:
        return None
    array: Array = operand.detach().cpu().numpy()
    if array.ndim > len(x.tags):
        return None
    padded = array.reshape((1,) * (len(x.tags) - array.ndim) + array.shape)
    time = x.tags.index("T")
    if padded.shape[time] == 1 or bool((padded == padded.take([0], time)).all()):
        return None
    others = [place for place, tag in enumerate(x.tags) if tag not in (OWN, "T")]
    kept = x.tags[:time].count(OWN)
    own = _single(padded, others)
    return np.moveaxis(own, kept, 0)


def _single(constant: Array, places: list[int]) -> Array:
    """A constant without these axes, along which it must not differ."""
    first: Array = np.asarray(
        constant[tuple(slice(0, 1) if place in places else slice(None) for place in range(constant.ndim))]
    )
    if not bool((constant == first).all()):
        raise NoCounterpartError("its constant differs over time or batch")
    own: Array = first.squeeze(tuple(places))
    return own


def _layout(value: Value) -> str:
    """How a value is laid out, in words."""
    if not value.spread:
        return f"{value.lead.value}, ..."
    sizes = iter(value.shape)
    return ", ".join(tag or str(next(sizes)) for tag in value.spread)


def _folds(operand: Folded) -> str:
    """How a folded value is laid out, in words."""
    sizes = iter(operand.value.shape)
    names = [tag or str(next(sizes)) for tag in operand.value.tags]
    return ", ".join(
        "*".join(names[place] for place in operand.places(axis)) for axis in range(len(operand.counts))
    )


def _holds_value(operand: Any) -> bool:
    parts = operand if isinstance(operand, (list, tuple)) else (operand,)
    return any(isinstance(part, (Value, *Hidden)) for part in parts)


def _needed(nodes: list[fx.Node]) -> set[str]:
    """The calls that the program's output depends on, those that change a value in place included."""
    needed: set[str] = set()
    for node in reversed(nodes):
        schema = getattr(node.target, "_schema", None)
        changes = schema is not None and schema.is_mutable and _base(node) in needed
        if node.op == "output" or node.name in needed or changes:
            needed.add(node.name)
            needed.update(n.name for n in node.all_input_nodes)
    return needed


def _base(node: fx.Node) -> str:
    """The value that a call, or the pieces it works on, lie in."""
    while node.op == "call_function" and node.all_input_nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not any(argument.alias_info is not None for argument in schema.arguments):
            break
        node = node.all_input_nodes[0]
    return node.name


def _schema(node: fx.Node) -> list[str]:
    """Names of the parameters of an ATen operation."""
    target = node.target
    return [p.name for p in target._schema.arguments] if isinstance(target, torch._ops.OpOverload) else []


def _name(node: fx.Node) -> str:
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        packet, overload = target._opname, target._overloadname
        return packet if overload == "default" else f"{packet}.{overload}"
    return getattr(target, "__name__", str(target))


def _first_shape(node: fx.Node) -> Shape:
    value = node.meta.get("val")
    first = value[0] if isinstance(value, (list, tuple)) else value
    return tuple(int(axis) for axis in first.shape) if isinstance(first, Tensor) else ()


def _shapes(node: fx.Node) -> str:
    inputs = " and ".join(str(list(_first_shape(n))) for n in node.all_input_nodes)
    return f"{inputs} to {list(_first_shape(node))}"


def _node_name(call: Call) -> str:
    module = call.source.module
    name = _name(call.node).split(".")[0]
    is_leaf = name.rstrip("_") in _leaf_class(call.node)
    return module if module and is_leaf else ".".join(part for part in (module, name) if part)


def _leaf_class(node: fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    kind = stack[-1][1] if stack else ""
    name = kind if isinstance(kind, str) else kind.__name__
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.rsplit(".", 1)[-1]).lower()


def _source(node: fx.Node) -> Source:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    module = str(stack[-1][0]) if stack else ""
    for file, line in reversed(_FRAME.findall(node.meta.get("stack_trace") or "")):
        if "/torch/" not in file and "/einops/" not in file:
            return Source(module, _short(file), int(line))
    return Source(module)


def _short(file: str) -> str:
    """A path without the folder of the installation, so that bundles are the same everywhere."""
    _, marker, rest = file.rpartition("site-packages/")
    return rest if marker else file.rsplit("/", 1)[-1]
