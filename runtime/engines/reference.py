"""The engine that defines the others: the graph's own interpreter, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spikeloom.compiler.graph.engine import Trace
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import spike_dtype
from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.engines.frames import check_frames, check_state


class ReferenceEngine:
    """Executes an integer graph one step at a time in int64.

    >>> from spikeloom.compiler.graph.graph import GraphBuilder, Stage
    >>> from spikeloom.compiler.graph.kinds import SPIKES, Type
    >>> from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
    >>> builder = GraphBuilder("one", Stage.INTEGER)
    >>> x = builder.input("x", Type((1,), SPIKES))
    >>> lif = IntegerNeuron(theta=np.array([[95]]), bias=np.array([0]), decay=2048, fraction_bits=6)
    >>> builder.output(builder.add("lif", lif, x)[0])
    >>> engine = ReferenceEngine(builder.build())
    >>> engine.reset(batch=1)
    >>> engine.run(np.ones((4, 1, 1), np.uint8)).spikes["lif"].ravel()
    array([0, 1, 0, 1], dtype=uint8)
    """

    name = "reference"

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._interpreter = Interpreter(graph)
        self._batch = 0

    def reset(self, batch: int) -> None:
        """Forget everything and expect ``batch`` samples side by side."""
        self._batch = batch
        self._interpreter.reset(batch)

    def run(self, frames: Array) -> Trace:
        """Advance by frames [steps, batch, ...].

        Raises:
            InputError: SL0803, the frames do not fit the network.
        """
        check_frames(self._graph, frames, self._batch)
        (output,) = self._graph.outputs
        wanted = {*(node.output for node in self._graph.neurons()), output}
        steps = [self._interpreter.step(frame, keep=wanted) for frame in frames]
        spikes = {
            node.name: np.stack([values[node.output] for values in steps]).astype(
                spike_dtype(self._graph.types[node.output].kind)
            )
            for node in self._graph.neurons()
        }
        return Trace(np.stack([values[output] for values in steps]), spikes)

    def state(self) -> dict[str, Array]:
        """A copy of the state, ``"node/state"`` to int64 [batch, ...]."""
        return {name: array.copy() for name, array in self._interpreter.state.items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Put a state back that :meth:`state` gave, here or in another engine.

        Raises:
            InputError: SL0803, the state is not one of this network.
        """
        check_state(self._graph, state)
        self._interpreter.state = {name: array.astype(np.int64) for name, array in state.items()}
        self._batch = max((len(array) for array in state.values()), default=self._batch)
