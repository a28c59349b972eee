"""An integer graph of two neuron layers, small enough to be printed, and to be damaged byte by byte."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage, Unit
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.source import Source


def tiny_network() -> Graph:
    """Two layers of neurons, the first in two halves, and a readout; its input is [2, 6] of spikes."""
    builder = GraphBuilder("tiny", Stage.INTEGER, "onnx")
    x = builder.input("x", Type((2, 6), SPIKES))
    weight = np.array([[[3, -1, 2], [1, 4, -2]]] * 4, np.int8)
    (conv,) = builder.add("conv", Conv1d(weight, None, (1,), (1,)), x, source=Source("conv", "model.py", 7))
    lif = IntegerNeuron(np.full((1, 4, 1), 300), np.array([[5], [0], [-5], [9]]), 2048, 6, state_bits=24)
    (lif1,) = builder.add("lif1", lif, conv)
    first, second = builder.add("halves", Split(0, (2, 2)), lif1)
    (total,) = builder.add("residual", Add(), first, second)
    cuba = IntegerNeuron(np.array([[70]]), np.array([0]), 1024, 6, current_decay=512, state_bits=24)
    (lif2,) = builder.add("lif2", cuba, total)
    (counts,) = builder.add("counts", ReduceSum((1,)), lif2)
    (head,) = builder.add("head", Linear(np.array([[5, -3], [-4, 6]], np.int8), np.array([1, 2])), counts)
    builder.units[head] = Unit(np.array(0.25), np.zeros(()))
    builder.output(head)
    return builder.build()
