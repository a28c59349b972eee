"""NeuroBench's metrics, from a graph and what flowed through it.

The definitions are those of neurobench 2.3.0 (``metrics/static``, ``metrics/workload``), so that figures can
be put beside those of others: on the graph of a trained network they are NeuroBench's own for the PyTorch
module, on an integer graph those of what is deployed. What NeuroBench leaves out, products of attention above
all, stands in :class:`~spikeloom.runtime.estimate.operations.Operations` and is never mixed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.op import Array, StatefulOp
from spikeloom.compiler.graph.ops.batch_norm import BatchNorm
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.runtime.estimate.operations import Operations

_COUNTER_BYTES = 8
"""PyTorch's batch norm keeps the number of batches that it has seen, 64 bits, among its buffers."""

_STATISTICS = ("mean", "variance")
_CONNECTIONS = ("linear", "conv1d", "conv2d", "recurrent_neuron")


@dataclass(frozen=True)
class StaticMetrics:
    """What can be said of a network without running it.

    Attributes:
        footprint: bytes of its parameters and buffers; single numbers are left out.
        parameter_count: numbers that were learned.
        connection_sparsity: share of the weights of linear layers and convolutions that are zero, to four
            digits.
    """

    footprint: int
    parameter_count: int
    connection_sparsity: float


@dataclass(frozen=True)
class NeuroBench:
    """NeuroBench's metrics of a network on recordings.

    Attributes:
        static: what needs no recording.
        activation_sparsity: share of the outputs of neurons that are zero, over layers, steps and samples.
        activation_sparsity_by_layer: the same of each layer.
        synaptic_operations: effective MACs and ACs and dense ones, per sample.
        membrane_updates: potentials that changed in a step, and all of the first step, per sample. They are
            compared as the trained neuron keeps them: after its reset, or before it where that comes late.
    """

    static: StaticMetrics
    activation_sparsity: float
    activation_sparsity_by_layer: Mapping[str, float]
    synaptic_operations: Mapping[str, float]
    membrane_updates: float

    def to_json(self) -> dict[str, Any]:
        """The metrics under NeuroBench's names."""
        return {
            "Footprint": self.static.footprint,
            "ParameterCount": self.static.parameter_count,
            "ConnectionSparsity": self.static.connection_sparsity,
            "ActivationSparsity": self.activation_sparsity,
            "ActivationSparsityByLayer": dict(self.activation_sparsity_by_layer),
            "SynapticOperations": dict(self.synaptic_operations),
            "MembraneUpdates": self.membrane_updates,
        }


def static_metrics(graph: Graph) -> StaticMetrics:
    """What can be said of a graph without running it."""
    arrays = [
        (name, array)
        for node in graph.nodes
        for name, array in vars(node.op).items()
        if isinstance(array, np.ndarray) and array.ndim
    ]
    counters = sum(isinstance(node.op, BatchNorm) for node in graph.nodes)
    weights = [_weight(node) for node in graph.nodes if node.op.name in _CONNECTIONS]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return StaticMetrics(
        sum(array.nbytes for _, array in arrays) + counters * _COUNTER_BYTES,
        sum(array.size for name, array in arrays if name not in _STATISTICS),
        round(zeros / max(sum(weight.size for weight in weights), 1), 4),
    )


@dataclass
class StateCounter:
    """Counts activations and membrane updates as a network runs.

    Attributes:
        graph: whose neurons are watched.
        updates: of membrane potentials, so far.
    """

    graph: Graph
    updates: int = 0
    _kept: dict[str, Array] = field(default_factory=dict)
    _active: dict[str, int] = field(default_factory=dict)
    _cells: dict[str, int] = field(default_factory=dict)

    def add(
        self,
        values: Mapping[str, Array],
        before: Mapping[str, Array],
        after: Mapping[str, Array],
        first: bool,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """Count one step of a batch.

        Args:
            values: of the graph, [n, ...].
            before: states of its nodes, «node/state» to [n, ...].
            after: the same after the step.
            first: whether it is the first step of the batch; all of it is run then.
            rows: which samples of the batch are run in this step; all by default.
        """
        for node in self.graph.neurons():
            spikes = values[node.output]
            self._active[node.name] = self._active.get(node.name, 0) + int(np.count_nonzero(spikes))
            self._cells[node.name] = self._cells.get(node.name, 0) + spikes.size
            potential = _potential(self.graph, node)
            if potential not in after:
                continue
            old, new = before[potential], after[potential]
            if isinstance(node.op, Neuron) and node.op.late:
                new = self._before_reset(node, node.op, values, before)
                old = self._exchanged(node.name, new, first, rows)
            self.updates += new.size if first else int(np.count_nonzero(new != old))

    def _before_reset(
        self, node: Node, op: Neuron, values: Mapping[str, Array], before: Mapping[str, Array]
    ) -> Array:
        """The potentials of a step as a late reset finds them."""
        names = op.states(*self.graph.input_types(node))
        states = {name: before[f"{node.name}/{name}"] for name in names}
        return op.integrate(values[node.inputs[0]], states)["v"]

    def _exchanged(self, name: str, new: Array, first: bool, rows: NDArray[np.int64] | None) -> Array:
        """What was kept of these samples; the new potentials are kept in its place."""
        if first:
            self._kept[name] = new
        kept, at = self._kept[name], slice(None) if rows is None else rows
        old = kept[at].copy()
        kept[at] = new
        return old

    def result(self, operations: Operations) -> NeuroBench:
        """The metrics of all that was counted."""
        sparsity = {name: _share(cells - self._active[name], cells) for name, cells in self._cells.items()}
        cells = sum(self._cells.values())
        return NeuroBench(
            static_metrics(self.graph),
            _share(cells - sum(self._active.values()), cells),
            sparsity,
            {
                "Effective_MACs": operations.macs,
                "Effective_ACs": operations.acs,
                "Dense": operations.dense,
            },
            self.updates / max(operations.samples, 1),
        )


def _weight(node: Node) -> NDArray[Any]:
    weight: NDArray[Any] = vars(node.op)["weight"]
    return weight


def _potential(graph: Graph, node: Node) -> str:
    """The name of a neuron's membrane potential: «v», or the only state of one that calls it otherwise."""
    if not isinstance(node.op, StatefulOp):
        return ""
    names = list(node.op.states(*graph.input_types(node)))
    return f"{node.name}/{'v' if 'v' in names else names[-1]}"


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
