"""Which operations of a network no spike drives: host operations, and weights or products of real values."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Graph

SPIKES = ("spikes", "levels", "sum")
"""Kinds that hold spikes, graded spikes and integer sums of them."""
COUNTED = ("synaptic", "product", "host")
"""Work that is judged; neuron updates and additions are done with either."""


def not_spike_driven(graph: Graph) -> frozenset[str]:
    """The nodes whose operations no spike drives.

    Those are host operations, and layers with weights and products of which an operand is anything
    but what neuron layers fire, or integer sums of it. A network's own input counts as spikes where
    it is 0 or 1; counts of events and bytes of real numbers are numbers, with which a layer multiplies.

    Args:
        graph: an integer graph.
    """
    fired = {name for name in graph.inputs if graph.types[name].kind.name == "spikes"}
    real = set()
    for node in graph.nodes:
        from_spikes = node.op.work != "host" and fired.issuperset(node.inputs)
        for output in node.outputs:
            if node.op.work == "update" or (from_spikes and graph.types[output].kind.name in SPIKES):
                fired.add(output)
        if node.op.work in COUNTED and not from_spikes:
            real.add(node.name)
    return frozenset(real)


def dense_share(graph: Graph) -> float:
    """The share of the operations of a dense network that no spike drives, of one step.

    Args:
        graph: an integer graph.

    Returns:
        0 where there are no operations at all.
    """
    dense = {
        node.name: node.op.dense_operations(*graph.input_types(node))
        for node in graph.nodes
        if node.op.work in COUNTED
    }
    real = not_spike_driven(graph)
    total = sum(dense.values())
    return sum(count for name, count in dense.items() if name in real) / total if total else 0.0
