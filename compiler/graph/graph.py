"""The graph: nodes in topological order over named, typed values, for one time step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

import numpy as np

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, StatefulOp
from spikeloom.compiler.graph.source import NOWHERE, Source
from spikeloom.errors import InternalError


class Stage(Enum):
    """How far a graph has come on its way to the target."""

    CAPTURED = "captured"
    CANONICAL = "canonical"
    INTEGER = "integer"


@dataclass(frozen=True)
class Node:
    """One use of an operation.

    Attributes:
        name: unique in the graph; the path of the module in the user's model where there is one.
        inputs, outputs: names of values.
        source: where the node came from.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: Source = NOWHERE

    @property
    def output(self) -> str:
        """The only output.

        Raises:
            ValueError: the node has several outputs.
        """
        (name,) = self.outputs
        return name


@dataclass(frozen=True)
class Unit:
    """What the integers of a value mean: real = scale * integer + offset.

    Attributes:
        scale, offset: arrays that broadcast against the value's shape.
    """

    scale: Array
    offset: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", np.asarray(self.scale))  # NumPy turns 0-d results into scalars
        object.__setattr__(self, "offset", np.asarray(self.offset))


@dataclass(frozen=True)
class Graph:
    """A network for one time step; neurons carry state from step to step.

    Attributes:
        name: of the model.
        stage: how far it has come.
        inputs, outputs: names of values.
        nodes: in an order in which each value is made before it is used.
        types: the type of every value.
        units: what integers mean, for values of an integer graph that stand for a real one.
        profile: name of the numeric profile an integer graph was made for.
    """

    name: str
    stage: Stage
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    types: Mapping[str, Type]
    units: Mapping[str, Unit] = field(default_factory=dict)
    profile: str = ""

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def producers(self) -> dict[str, Node]:
        """The node that makes each value; graph inputs are absent."""
        return {output: node for node in self.nodes for output in node.outputs}

    @cached_property
    def consumers(self) -> dict[str, tuple[Node, ...]]:
        """The nodes that use each value, in order; unused values are absent."""
        users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                users.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in users.items()}

    def node(self, name: str) -> Node:
        """The node of that name."""
        return self._by_name[name]

    def input_types(self, node: Node) -> tuple[Type, ...]:
        """Types of the inputs of a node."""
        return tuple(self.types[name] for name in node.inputs)

    def stateful(self) -> Iterator[tuple[Node, StatefulOp]]:
        """Nodes that keep state, with their operation."""
        for node in self.nodes:
            if isinstance(node.op, StatefulOp):
                yield node, node.op

    def neurons(self) -> Iterator[Node]:
        """Nodes that spike: the neuron layers, in order."""
        return (node for node, op in self.stateful() if op.work == "update")

    @cached_property
    def answers_at_the_end(self) -> bool:
        """Whether the output already sums time steps, so that its last value is the network's answer.

        Otherwise the network answers by the sum of its outputs over time. A neuron layer behind a sum
        over time fires at each step and answers for none but that.
        """
        summed: set[str] = set()
        for node in self.nodes:
            accumulates = isinstance(node.op, StatefulOp) and node.op.accumulates
            fires = node.op.work == "update"
            if accumulates or (summed.intersection(node.inputs) and not fires):
                summed.update(node.outputs)
        return bool(summed.intersection(self.outputs))

    @cached_property
    def lateness(self) -> dict[str, int]:
        """For each value, by how many time steps it is late: how far the network looks ahead for it."""
        return self._along_paths(lambda op: op.lateness)

    @cached_property
    def overtime(self) -> dict[str, int]:
        """For each value, for how many time steps it goes on after the sample."""
        return self._along_paths(lambda op: op.overtime)

    @property
    def latency(self) -> int:
        """Time steps from an input to the output that stands for the same time."""
        return max(self.lateness[name] for name in self.outputs)

    @property
    def flush(self) -> int:
        """Time steps that the network runs on, on empty frames, after the last frame of a sample."""
        return max(self.lateness[name] + self.overtime[name] for name in self.outputs)

    def _along_paths(self, steps: Callable[[Op], int]) -> dict[str, int]:
        """The sum of something over the operations before each value, on the path where it is largest."""
        total = dict.fromkeys(self.inputs, 0)
        for node in self.nodes:
            before = max((total[name] for name in node.inputs), default=0)
            total.update(dict.fromkeys(node.outputs, before + steps(node.op)))
        return total

    def replace(self, **changes: object) -> Graph:
        """The same graph with fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


class GraphBuilder:
    """Builds a graph node by node, inferring each type on the way.

    >>> from spikeloom.compiler.graph.kinds import SPIKES
    >>> from spikeloom.compiler.graph.ops.add import Add
    >>> builder = GraphBuilder("double", Stage.INTEGER)
    >>> x = builder.input("x", Type((3,), SPIKES))
    >>> builder.output(builder.add("sum", Add(), x, x)[0])
    >>> builder.build().types["sum"]
    sum(0,2)[3]
    """

    def __init__(self, name: str, stage: Stage, profile: str = "") -> None:
        self._graph = Graph(name, stage, (), (), (), {}, {}, profile)
        self._inputs: list[str] = []
        self._outputs: list[str] = []
        self._nodes: list[Node] = []
        self.types: dict[str, Type] = {}
        self.units: dict[str, Unit] = {}

    def input(self, name: str, kind: Type) -> str:
        """Declare an input; returns its name."""
        self._declare(name, kind)
        self._inputs.append(name)
        return name

    def output(self, name: str) -> None:
        """Declare a value to be an output."""
        self._outputs.append(name)

    def add(self, name: str, op: Op, *inputs: str, source: Source = NOWHERE) -> tuple[str, ...]:
        """Append a node and return the names of its outputs.

        A single output is called as the node, several are numbered ``name:0``, ``name:1`` ...

        Raises:
            InternalError: SL0401, the inputs break the rule of the operation, or a name is taken.
        """
        try:
            types = op.infer(*(self.types[value] for value in inputs))
        except RuleBrokenError as error:
            raise InternalError.of("SL0401", f"{name} at {source}", f"{op.name}: {error}") from error
        names = (name,) if len(types) == 1 else tuple(f"{name}:{index}" for index in range(len(types)))
        for output, kind in zip(names, types, strict=True):
            self._declare(output, kind)
        self._nodes.append(Node(name, op, inputs, names, source))
        return names

    def unique(self, name: str) -> str:
        """``name``, or ``name.1``, ``name.2`` ... if it is taken."""
        taken = {node.name for node in self._nodes} | set(self.types)
        candidates = (name if count == 0 else f"{name}.{count}" for count in range(len(taken) + 1))
        return next(candidate for candidate in candidates if candidate not in taken)

    def build(self) -> Graph:
        """The finished graph."""
        return self._graph.replace(
            inputs=tuple(self._inputs),
            outputs=tuple(self._outputs),
            nodes=tuple(self._nodes),
            types=dict(self.types),
            units=dict(self.units),
        )

    def _declare(self, name: str, kind: Type) -> None:
        if name in self.types:
            raise InternalError.of("SL0401", name, "two values have this name")
        self.types[name] = kind


def live_nodes(nodes: Iterable[Node], outputs: Iterable[str]) -> tuple[Node, ...]:
    """The nodes that the outputs depend on, in the same order."""
    needed = set(outputs)
    kept = []
    for node in reversed(tuple(nodes)):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))
