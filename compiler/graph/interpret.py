"""The reference interpreter: what a graph means, step by step, in NumPy."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property

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

    def step(
        self,
        *inputs: Array,
        forced: Mapping[str, Array] | None = None,
        keep: Collection[str] | None = None,
    ) -> dict[str, Array]:
        """Run one time step on inputs [batch, ...] and return the values of the graph.

        Args:
            inputs: one for each input of the graph.
            forced: values that go on in the place of what was computed; the results show the latter.
            keep: the values to return; any other is forgotten after its last reader, which of a large
                network saves most of the memory. None for all.
        """
        values = self.values(*inputs, forced=forced)
        return {name: value for name, value in values if keep is None or name in keep}

    def values(
        self, *inputs: Array, forced: Mapping[str, Array] | None = None
    ) -> Iterator[tuple[str, Array]]:
        """Run one time step and give each value by name as it comes; arguments are those of :meth:`step`.

        A value is forgotten here after its last reader.
        """
        forced = forced or {}
        values = dict(
            zip(self.graph.inputs, (np.asarray(x).astype(self._dtype) for x in inputs), strict=True)
        )
        yield from values.items()
        for node in self.graph.nodes:
            arguments = tuple(forced.get(name, values[name]) for name in node.inputs)
            if isinstance(node.op, StatefulOp):
                results = self._advance(node, node.op, arguments)
            else:
                results = node.op.evaluate(*arguments)
            computed = dict(zip(node.outputs, results, strict=True))
            values |= computed
            del arguments, results
            for name in self._read_last[node.name]:
                del values[name]
            yield from computed.items()
            del computed

    @cached_property
    def _read_last(self) -> dict[str, list[str]]:
        """By the name of a node, the values that nothing reads after it; its own, where nothing ever does."""
        last: dict[str, str] = {}
        for node in self.graph.nodes:
            last.update(dict.fromkeys((*node.inputs, *node.outputs), node.name))
        read: dict[str, list[str]] = {node.name: [] for node in self.graph.nodes}
        for value, reader in last.items():
            read[reader].append(value)
        return read

    def _advance(self, node: Node, op: StatefulOp, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        names = op.states(*self.graph.input_types(node))
        outputs, after = op.step(inputs, {name: self.state[f"{node.name}/{name}"] for name in names})
        self.state.update({f"{node.name}/{name}": value for name, value in after.items()})
        return outputs
