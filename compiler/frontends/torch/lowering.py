"""From a captured program to a graph: the walk, and the registry of rules for ATen operations.

A rule takes one call of an ATen operation and appends the nodes that mean it; one file of
:mod:`spikeloom.compiler.frontends.torch.rules` holds the rules of one family. Everything that no
rule covers, or that mixes time or batch with other axes, is collected and reported at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from spikeloom.compiler.frontends.torch.axes import (
    CAPTURES,
    Captures,
    Lead,
    NoCounterpartError,
    Sizes,
    classify,
)
from spikeloom.compiler.frontends.torch.libraries.library import NEVER_REACHED, SpikingNeuron
from spikeloom.compiler.frontends.torch.operands import (
    Border,
    Folded,
    Hidden,
    Memory,
    Operand,
    StillFoldedError,
    Value,
    View,
    folds_in_words,
    holds_value,
    layout_in_words,
)
from spikeloom.compiler.frontends.torch.program import (
    first_shape,
    leaf_class,
    needed_calls,
    operation_name,
    shapes_in_words,
    source_of,
)
from spikeloom.compiler.frontends.torch.rule import ANY_LAYOUT, FOLDS, RULES, Call, load_rules
from spikeloom.compiler.graph.graph import GraphBuilder, Node
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.source import Source
from spikeloom.errors import InternalError, Problem

ROUNDED_BY_ROWS = frozenset({"linear", "matmul", "mm", "bmm", "addmm", "conv1d", "conv2d", "layer_norm"})
"""Operations whose float results may depend on how many rows are computed together."""


class _PotentialReadError(Exception):
    """A program holds the potentials of neurons that fire; it may not need them."""


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
    neurons: list[tuple[str, SpikingNeuron]]
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
        layouts = dict.fromkeys(layout_in_words(value) for value in inputs)
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
        load_rules()
        pairs = list(nodes)
        needed = needed_calls([node for node, _ in pairs])
        for node, twin in pairs:
            if node.op == "call_function" and node.name in needed:
                self._lower(node, twin)
            elif node.op == "placeholder" and node.name in constants:
                self.operands[node.name] = constants[node.name]

    def _lower(self, node: fx.Node, twin: fx.Node) -> None:
        if self._depends_on_broken(node):
            self.broken.add(node.name)
            return
        where = source_of(node)
        if not self._depends_on_input(node):
            self._fold(node, where)
            if operation_name(node) in ROUNDED_BY_ROWS and first_shape(node) != first_shape(twin):
                self.batch = self.sizes[0].batch
            return
        self._find_steps(node, twin)
        operands = self._values(node)
        has_time = any(value.lead.has_time for value in operands)
        overtime = max((value.overtime for value in operands), default=0)
        sizes = (self.sizes[0].longer(overtime), self.sizes[1].longer(overtime))
        shapes = (first_shape(node), first_shape(twin))
        axes = classify(*shapes, sizes, has_time)
        folds = [o for o in self._operands(node) if isinstance(o, Folded)]
        fires = operation_name(node) in ("neuron", "potential")
        if folds and operation_name(node) not in FOLDS:
            self._refuse_fold(node, folds[0])
            return
        if operation_name(node) in ANY_LAYOUT or (
            fires and (folds or any(value.spread for value in operands))
        ):
            axes = axes or (Lead.SPREAD, ())
        elif strange := [value for value in operands if value.spread or any(value.margin)]:
            fault = (
                f"mixes time or batch with other axes: a value laid out as [{layout_in_words(strange[0])}]"
            )
            self._refuse(node, "SL0303", where, f"{operation_name(node)} {fault}")
            return
        elif axes is None or axes[0] is Lead.NONE:
            self._refuse(
                node,
                "SL0303",
                where,
                f"{operation_name(node)} mixes time or batch with other axes: {shapes_in_words(node)}",
            )
            return
        lead, shape = axes
        self._apply(node, Call(node, self._bind(node), self._fold_order(node, lead), shape, where, shapes))

    def _find_steps(self, node: fx.Node, twin: fx.Node) -> None:
        """Where a model repeats a frame over time: [1, B, ...] becomes [T, B, ...]."""
        shapes = (first_shape(node), first_shape(twin))
        if self.sizes[0].steps != 1 or operation_name(node) not in ("repeat", "expand"):
            return
        before = first_shape(node.all_input_nodes[0])
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
            if operation_name(node) == "neuron":
                self.operands[node.name] = self._neuron(call)
            elif operation_name(node) == "potential":
                self.operands[node.name] = self._readout(call)
            elif operation_name(node) == "getitem":
                self.operands[node.name] = self._getitem(node)
            elif operation_name(node) in RULES:
                self.operands[node.name] = RULES[operation_name(node)](self, call)
            else:
                raise NoCounterpartError("there is no rule for it")
        except _PotentialReadError as error:
            self.broken.add(node.name)
            self.unread.append(Problem("SL0302", str(call.source), str(error)))
        except StillFoldedError as error:
            self._refuse_fold(node, error.operand)
        except NoCounterpartError as error:
            self._refuse(node, "SL0302", call.source, f"{operation_name(node)} has no counterpart: {error}")

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
            where = layout_in_words(x) if folded is None else folds_in_words(folded)
            raise NoCounterpartError(f"the neuron {path} runs along axis 0 of [{where}], which is not time")
        if isinstance(equation, FeedbackNeuron) and equation.weight.ndim == 2 and len(x.shape) > 1:
            raise NoCounterpartError(f"the weights of {path} lead from tokens of neurons back to them")
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
        if operation_name(node) in ("neuron", "potential"):
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
        return any(holds_value(self.operands[n.name]) for n in node.all_input_nodes)

    def _fold_order(self, node: fx.Node, lead: Lead) -> Lead:
        """Whether time or batch is outer in a folded axis: shapes do not tell, the operands do."""
        outer = {operand.lead.outer for operand in self._values(node)}
        return Lead.FOLDED_BATCH_FIRST if lead is Lead.FOLDED and outer == {"B"} else lead

    def _depends_on_broken(self, node: fx.Node) -> bool:
        return any(n.name in self.broken for n in node.all_input_nodes)

    def _refuse_fold(self, node: fx.Node, operand: Folded) -> None:
        """What stands in the way is the reshape that nothing has undone before this call."""
        at = source_of(node)
        place = f" at {at.file}:{at.line}" if at.file else ""
        fault = f"{operand.fault}; {operation_name(node)}{place} needs them apart"
        self._refuse(node, "SL0303", operand.source, fault)

    def _refuse(self, node: fx.Node, code: str, where: Source, fault: str) -> None:
        self.broken.add(node.name)
        self.problems.append(Problem(code, str(where), fault))


def _node_name(call: Call) -> str:
    module = call.source.module
    name = operation_name(call.node).split(".")[0]
    is_leaf = name.rstrip("_") in leaf_class(call.node)
    return module if module and is_leaf else ".".join(part for part in (module, name) if part)
