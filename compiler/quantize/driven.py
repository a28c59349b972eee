"""Which neurons the sums of a layer drive."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.transpose import Transpose

PASSED_THROUGH = (MaxPool2d, Reshape, Transpose)


def driven_neuron(graph: Graph, node: Node) -> Node | None:
    """The only neuron layer that a node's result reaches, through pooling and reshapes alone."""
    while True:
        consumers = graph.consumers.get(node.output, ())
        if len(consumers) != 1 or node.output in graph.outputs:
            return None
        (node,) = consumers
        if isinstance(node.op, Neuron | FeedbackNeuron):
            return node
        if not isinstance(node.op, PASSED_THROUGH):
            return None
