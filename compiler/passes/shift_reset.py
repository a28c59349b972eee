"""Resting potentials become zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.passes import Pass, PassResult
from spikeloom.compiler.graph.rewrite import rewrite


@dataclass(frozen=True)
class ShiftReset(Pass):
    """Measure every membrane potential from its resting potential: v becomes v - v_reset.

    With h = a v + g x + d, the shifted potential has drift d + (a - 1) v_reset and threshold
    th - v_reset.
    """

    name: ClassVar[str] = "shift-reset"
    needs: ClassVar[Stage] = Stage.CAPTURED
    gives: ClassVar[Stage] = Stage.CAPTURED

    def apply(self, graph: Graph) -> PassResult:
        """Rewrite the graph."""
        if not any(
            isinstance(node.op, Neuron | FeedbackNeuron) and node.op.v_reset != 0 for node in graph.nodes
        ):
            return PassResult(graph, False)

        def visit(builder: GraphBuilder, node: Node, inputs: tuple[str, ...]) -> Sequence[str] | None:
            op = node.op
            if not isinstance(op, Neuron | FeedbackNeuron):
                return None
            shifted = replace(
                op,
                drift=op.drift + (op.decay - 1) * op.v_reset,
                threshold=op.threshold - op.v_reset,
                v_reset=0.0,
            )
            return builder.add(node.name, shifted, *inputs, source=node.source)

        return PassResult(rewrite(graph, visit), True)
