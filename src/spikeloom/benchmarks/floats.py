"""What the networks mean in float32, for the peers of the integer ones.

Weights and thresholds are the integers as floats, so that a peer does the same work. It does not round
where the integers do: single spikes differ, and what it computes is compared by firing rates.
"""

from __future__ import annotations

import numpy as np

from spikeloom.benchmarks.networks import DECAY, FRACTION_BITS
from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE, IntegerNeuron

KEEP = (DECAY_ONE - DECAY) / DECAY_ONE
_UNIT = float(2**FRACTION_BITS)


def threshold(op: IntegerNeuron) -> float:
    """What a potential must reach, in units of the input."""
    return float(int(op.theta.max()) + 1) / _UNIT


def bias_of(op: IntegerNeuron) -> Array:
    """In units of the input."""
    return (op.bias / _UNIT).astype(np.float32)


def following_bias(graph: Graph, node: Node) -> Array | None:
    """The bias of the neurons that alone read a node, to be added by it."""
    readers = graph.consumers.get(node.output, ())
    if len(readers) == 1 and isinstance(readers[0].op, IntegerNeuron):
        return bias_of(readers[0].op)
    return None
