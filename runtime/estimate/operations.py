"""Operations that a network really does, counted from what flowed through it.

The terms are NeuroBench's (neurobench 2.3.0, ``metrics/workload``): an effective operation is a
pair of a non-zero input and a non-zero weight; all those of a layer are accumulates (ACs) if
every input that the layer saw is -1, 0 or 1, and multiply-accumulates (MACs) otherwise; dense
operations count every pair that exists. NeuroBench leaves out what has no stored weight; the
products of attention and the neuron updates are therefore counted apart, never mixed in. Spikes that
come back to their own layer are synaptic operations when they arrive, under the layer's name and ``.back``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron, pairs_back
from spikeloom.runtime.estimate.spike_driven import not_spike_driven


@dataclass(frozen=True)
class NodeOperations:
    """What one node did per sample, over all its time steps.

    Attributes:
        node: its name.
        work: ``synaptic``, ``product``, ``update``, ``addition`` or ``host``.
        effective: [samples], pairs of non-zero operands.
        dense: pairs that exist, of one sample; the mean where samples differ in their steps.
        binary: [samples], whether every input of the sample was -1, 0 or 1.
    """

    node: str
    work: str
    effective: NDArray[np.int64]
    dense: float
    binary: NDArray[np.bool_]


@dataclass(frozen=True)
class Operations:
    """Operations per sample, means over the samples.

    Attributes:
        samples: how many were counted.
        acs, macs: effective synaptic accumulates and multiply-accumulates.
        dense: synaptic operations of a dense network.
        products, dense_products: of attention.
        updates: of neurons.
        additions: of residuals and sums.
        host: of real numbers, which no spike drives: normalisations, gates, quotients.
        real: effective synaptic operations and products of which an operand is no spike.
        nodes: the same node by node.
    """

    samples: int
    acs: float
    macs: float
    dense: float
    products: float
    dense_products: float
    updates: float
    additions: float
    host: float
    real: float
    nodes: tuple[NodeOperations, ...]

    @property
    def not_spike_driven(self) -> float:
        """The share of synaptic operations, products and host operations that no spike drives."""
        total = self.acs + self.macs + self.products + self.host
        return (self.real + self.host) / total if total else 0.0

    def to_json(self) -> dict[str, Any]:
        """The totals, and ``nodes`` as a list of name, work, effective and dense per sample."""
        totals = {
            name: getattr(self, name)
            for name in (
                "samples", "acs", "macs", "dense", "products", "dense_products", "updates", "additions",
                "host", "real", "not_spike_driven",
            )
        }  # fmt: skip
        nodes = [
            {"node": n.node, "work": n.work, "effective": float(n.effective.mean()), "dense": n.dense}
            for n in self.nodes
        ]
        return {**totals, "nodes": nodes}


@dataclass
class OperationCounter:
    """Counts as a network runs: one :meth:`start` per batch, then :meth:`add` at every step.

    Attributes:
        graph: whose values are counted; an integer graph, or a float one.

    NeuroBench judges a whole layer call, batch and all, by its inputs; here each sample is judged
    by itself, so that its figures do not depend on its neighbours in the batch.
    """

    graph: Graph
    _effective: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    _binary: dict[str, list[NDArray[np.bool_]]] = field(default_factory=dict)
    _steps: list[NDArray[np.int64]] = field(default_factory=list)
    _back: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    _sent: dict[str, Array] = field(default_factory=dict)  # [batch, wait, ...], newest first

    def start(self, batch: int) -> None:
        """Begin a batch of samples at their first step."""
        self._steps.append(np.zeros(batch, np.int64))
        for node in self._nodes():
            self._effective.setdefault(node.name, []).append(np.zeros(batch, np.int64))
            self._binary.setdefault(node.name, []).append(np.ones(batch, bool))
        for name, op in self._loops():
            self._back.setdefault(name, []).append(np.zeros(batch, np.int64))
            self._sent[name] = np.zeros((batch, op.wait, *self._shape(name)), np.int64)

    def add(self, values: Mapping[str, Array], rows: NDArray[np.int64] | None = None) -> None:
        """Count one time step from the values [n, ...] of the graph.

        Args:
            values: of the samples that are run in this step.
            rows: which of the batch they are; all by default.
        """
        at = slice(None) if rows is None else rows
        self._steps[-1][at] += 1
        for node in self._nodes():
            inputs = [np.asarray(values[name]) for name in node.inputs]
            self._effective[node.name][-1][at] += node.op.operations(*inputs)
            if node.op.work == "synaptic":
                self._binary[node.name][-1][at] &= _is_binary(inputs[0])
        for name, op in self._loops():
            sent = self._sent[name]
            self._back[name][-1][at] += pairs_back(op.weight, sent[at, -1])
            sent[at] = np.concatenate([np.asarray(values[name])[:, None], sent[at, :-1]], 1)

    def result(self) -> Operations:
        """The counts so far."""
        nodes = (
            *(self._node_operations(node) for node in self._nodes()),
            *(self._loop_operations(name, op) for name, op in self._loops()),
        )
        synaptic = [node for node in nodes if node.work == "synaptic"]
        real = not_spike_driven(self.graph)
        return Operations(
            samples=sum(len(batch) for batch in self._steps),
            acs=sum(_mean(node.effective * node.binary) for node in synaptic),
            macs=sum(_mean(node.effective * ~node.binary) for node in synaptic),
            dense=sum(node.dense for node in synaptic),
            products=_total(nodes, "product"),
            dense_products=sum(node.dense for node in nodes if node.work == "product"),
            updates=_total(nodes, "update"),
            additions=_total(nodes, "addition"),
            host=_total(nodes, "host"),
            real=sum(_mean(n.effective) for n in nodes if n.work != "host" and n.node in real),
            nodes=nodes,
        )

    def _nodes(self) -> list[Node]:
        return [node for node in self.graph.nodes if node.op.work != "none"]

    def _node_operations(self, node: Node) -> NodeOperations:
        return NodeOperations(
            node.name,
            node.op.work,
            np.concatenate(self._effective[node.name]),
            self._dense(node),
            np.concatenate(self._binary[node.name]),
        )

    def _loops(self) -> Iterator[tuple[str, RecurrentNeuron | FeedbackNeuron]]:
        """Layers whose spikes come back."""
        for node in self.graph.nodes:
            if isinstance(node.op, RecurrentNeuron | FeedbackNeuron):
                yield node.output, node.op

    def _loop_operations(self, name: str, op: RecurrentNeuron | FeedbackNeuron) -> NodeOperations:
        effective = np.concatenate(self._back[name])
        pairs = int(pairs_back(np.ones_like(op.weight), np.ones((1, *self._shape(name))))[0])
        return NodeOperations(
            f"{name}.back", "synaptic", effective, self._a_sample(pairs), np.ones(len(effective), bool)
        )

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.graph.types[name].shape

    def _dense(self, node: Node) -> float:
        """Pairs that exist, a sample."""
        return self._a_sample(node.op.dense_operations(*self.graph.input_types(node)))

    def _a_sample(self, pairs: int) -> float:
        """Pairs of a step over the steps of a sample; whole where every sample has as many."""
        steps = np.concatenate(self._steps)
        return int(pairs * steps[0]) if (steps == steps[0]).all() else float(pairs * steps.mean())


def _is_binary(x: Array) -> NDArray[np.bool_]:
    return np.asarray(np.isin(x.reshape(len(x), -1), (-1, 0, 1)).all(1))


def _mean(counts: Array) -> float:
    return float(counts.mean())


def _total(nodes: tuple[NodeOperations, ...], work: str) -> float:
    return sum(_mean(node.effective) for node in nodes if node.work == work)
