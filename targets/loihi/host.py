"""What the host does with what the chip sends: a sum over time, and what follows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.op import Array, StatefulOp
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.errors import Problem


@dataclass(frozen=True)
class Host:
    """The end of a graph, from its sum over time on; nothing where there is no such sum.

    A membrane without a leak would add up on the chip, but 24 bits do not hold 7 fraction digits of
    every such sum. What follows it, such as a head behind a mean over time, is computed from sums, once a
    sample, and not from spikes.

    Attributes:
        graph: the integer graph.
        summing: the sum over time.
        after: the operations that follow it, in order.
    """

    graph: Graph
    summing: Node | None
    after: tuple[Node, ...]

    @staticmethod
    def of(graph: Graph) -> Host:
        """The host's part of a graph."""
        sums = [node for node in graph.nodes if isinstance(node.op, Accumulate)]
        if not sums:
            return Host(graph, None, ())
        reached = {sums[0].output}
        after = []
        for node in graph.nodes:
            if reached.intersection(node.inputs):
                reached.update(node.outputs)
                after.append(node)
        return Host(graph, sums[0], tuple(after))

    @property
    def given(self) -> str:
        """The value that the chip gives in every step."""
        return self.graph.outputs[0] if self.summing is None else self.summing.inputs[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what the chip gives."""
        return self.graph.types[self.given].shape

    @property
    def nodes(self) -> frozenset[str]:
        """Names of the nodes that the host executes."""
        return frozenset(node.name for node in (self.summing, *self.after) if node is not None)

    def finish(self, sums: Array) -> Array:
        """The network's outputs [steps, batch, ...] of sums [steps, batch, ...].

        Where there is no sum over time, what the chip gave is the output.
        """
        if self.summing is None:
            return sums
        folded = sums.reshape(-1, *self.shape)
        values = {self.summing.output: folded}
        for node in self.after:
            results = node.op.evaluate(*(values[name] for name in node.inputs))
            values.update(zip(node.outputs, results, strict=True))
        output = values[self.graph.outputs[0]]
        return np.ascontiguousarray(output.reshape(*sums.shape[:2], *output.shape[1:]))

    def problems(self) -> list[Problem]:
        """Why the host cannot do it: it has one sum, and nothing but what follows from it and no state."""
        if self.summing is None:
            return []
        made = {self.summing.output, *(name for node in self.after for name in node.outputs)}
        what = "a sum over time is the host's, and {} cannot be computed from it alone"
        return [
            Problem(
                "SL0602",
                f"{node.name} at {node.source}",
                what.format(node.op.name),
                wanted="operations without state, after the last time step",
                remedy="change the model, or compile it for onnx",
            )
            for node in self.after
            if isinstance(node.op, StatefulOp) or not made.issuperset(node.inputs)
        ] + [
            Problem("SL0602", name, "is given out before the sum over time", remedy="give out one value")
            for name in self.graph.outputs
            if name not in made
        ]
