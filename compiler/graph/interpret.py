"""The reference interpreter: what a graph means, step by step, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spikeloom.compiler.graph.graph import Graph, Node, Stage
from spikeloom.compiler.graph.op import Array, StatefulOp


class Interpreter:
    """Executes a graph one time step at a time and keeps the state in between.

    An integer graph computes in int64 and is the definition that every engine and target must
    match bit for bit; an earlier one computes in float64.

    Attributes:
        graph: what is executed.
        state: ``"node/state"`` to array [batch, ...]; may be read, saved and put back.

    >>> from spikeloom.compiler.graph.graph import GraphBuilder
    >>> from spikeloom.compiler.graph.kinds import SPIKES, Type
    >>> from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
    >>> builder = GraphBuilder("one", Stage.INTEGER)
    >>> x = builder.input("x", Type((1,), SPIKES))
    >>> lif = IntegerNeuron(theta=np.array([[95]]), bias=np.array([0]), decay=2048, fraction_bits=6)
    >>> builder.output(builder.add("lif", lif, x)[0])
    >>> run = Interpreter(builder.build())
    >>> run.reset(batch=1)
    >>> [int(run.step(np.ones((1, 1)))["lif"][0, 0]) for _ in range(4)]
    [0, 1, 0, 1]
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.state: dict[str, Array] = {}
        self._dtype = np.int64 if graph.stage is Stage.INTEGER else np.float64

    def reset(self, batch: int) -> None:
        """Put every state back to its start, for ``batch`` samples side by side."""
        self.state = {
            f"{node.name}/{name}": np.broadcast_to(value, (batch, *value.shape)).copy()
            for node, op in self.graph.stateful()
            for name, value in op.initial(*self.graph.input_types(node)).items()
        }

    def step(self, *inputs: Array, forced: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Run one time step on inputs [batch, ...] and return every value of the graph.

        Args:
            inputs: one for each input of the graph.
            forced: values that go on in the place of what was computed; the results show the latter.
        """
        forced = forced or {}
        values = dict(
            zip(self.graph.inputs, (np.asarray(x).astype(self._dtype) for x in inputs), strict=True)
        )
        for node in self.graph.nodes:
            arguments = tuple(forced.get(name, values[name]) for name in node.inputs)
            if isinstance(node.op, StatefulOp):
                results = self._advance(node, node.op, arguments)
            else:
                results = node.op.evaluate(*arguments)
            values.update(zip(node.outputs, results, strict=True))
        return values

    def _advance(self, node: Node, op: StatefulOp, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        names = op.states(*self.graph.input_types(node))
        outputs, after = op.step(inputs, {name: self.state[f"{node.name}/{name}"] for name in names})
        self.state.update({f"{node.name}/{name}": value for name, value in after.items()})
        return outputs
