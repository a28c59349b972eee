"""Networks that look ahead in time run on what has arrived, and answer late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage
from spikeloom.compiler.graph.op import StatefulOp
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.graph.passes import Pass, PassResult
from spikeloom.compiler.graph.rewrite import rewrite


@dataclass(frozen=True)
class Retime(Pass):
    """Let values that meet stand for the same time, and hide what stands for none.

    Behind a window that looks ``a`` steps ahead everything is ``a`` steps late. An operand that is less
    late than another is delayed. Before its time and after it a value is what biases make of nothing:
    gates keep that from everything that remembers, so that each layer starts and ends at its own step,
    and from an output that answers at each step.

    Attributes:
        steps: of a sample.
    """

    name: ClassVar[str] = "retime"
    needs: ClassVar[Stage] = Stage.CAPTURED
    gives: ClassVar[Stage] = Stage.CAPTURED

    steps: int

    def apply(self, graph: Graph) -> PassResult:
        """Insert delays and gates; a graph that does not look ahead stays as it is."""
        if not any(node.op.lateness or node.op.overtime for node in graph.nodes):
            return PassResult(graph, False)
        walk = _Walk(graph, self.steps)
        return PassResult(rewrite(graph, walk.visit), True)


@dataclass
class _Walk:
    """Copies a graph; ``late`` and the values that were made are by names of the copy."""

    graph: Graph
    steps: int
    late: dict[str, int] = field(default_factory=dict)
    overtime: dict[str, int] = field(default_factory=dict)
    delayed: dict[tuple[str, int], str] = field(default_factory=dict)
    gated: dict[str, str] = field(default_factory=dict)

    def visit(self, builder: GraphBuilder, node: Node, inputs: tuple[str, ...]) -> Sequence[str]:
        """Copy a node behind the delays and gates that it needs."""
        late = max(self.late.get(name, 0) for name in inputs)
        overtime = max(self.overtime.get(name, 0) for name in inputs)
        arguments = [self._delay(builder, name, late - self.late.get(name, 0)) for name in inputs]
        starts_with_the_input = late == 0 and node.op.work == "update"
        if isinstance(node.op, StatefulOp) and not starts_with_the_input:
            arguments = [self._gate(builder, name, late, overtime) for name in arguments]
        outputs = builder.add(node.name, node.op, *arguments, source=node.source)
        late, overtime = late + node.op.lateness, overtime + node.op.overtime
        answers = set(node.outputs).intersection(self.graph.outputs) and not self.graph.answers_at_the_end
        if answers:
            outputs = tuple(self._gate(builder, name, late, overtime) for name in outputs)
        self.late.update(dict.fromkeys(outputs, late))
        self.overtime.update(dict.fromkeys(outputs, overtime))
        return outputs

    def _delay(self, builder: GraphBuilder, name: str, steps: int) -> str:
        if steps == 0:
            return name
        if (name, steps) not in self.delayed:
            delay = Delay(np.array(steps), balances=True)
            (self.delayed[name, steps],) = builder.add(builder.unique(f"{name}.late"), delay, name)
        return self.delayed[name, steps]

    def _gate(self, builder: GraphBuilder, name: str, late: int, overtime: int) -> str:
        if late == 0 and name in self.graph.inputs:  # nothing comes in after the sample
            return name
        if name not in self.gated:
            gate = TimeGate(late, self.steps + overtime)
            (self.gated[name],) = builder.add(builder.unique(f"{name}.gate"), gate, name)
        return self.gated[name]
