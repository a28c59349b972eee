"""The neuron layers and the weights before them, as the page shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.runtime.report.tally import Tally


@dataclass(frozen=True)
class WeightGrid:
    """How the weights of a layer were rounded.

    Attributes:
        layer: name of the node that holds them.
        bits: of a weight.
        error: relative root mean square error of its sums.
        halvings: how often its step was doubled so that no potential overflows.
    """

    layer: str
    bits: int
    error: float
    halvings: int


@dataclass(frozen=True)
class Layer:
    """A neuron layer.

    Attributes:
        name, shape, neurons: of the layer.
        spikes: over all samples and steps.
        rate: spikes per neuron and step.
        step_rates: the same for each step alone.
        trained_rate: of the trained network on the calibration recordings; None if not known.
        cells, differing: spikes that the compiler compared with trained PyTorch, and those that
            differ; no cells if it did not compare.
        grids: of the weights whose sums drive the layer; attention's products have none.
    """

    name: str
    shape: tuple[int, ...]
    neurons: int
    spikes: int
    rate: float
    step_rates: tuple[float, ...]
    trained_rate: float | None
    cells: int
    differing: int
    grids: tuple[WeightGrid, ...]


def collect_layers(
    graph: Graph, tally: Tally, activity: Mapping[str, Any], ledger: Iterable[Mapping[str, Any]]
) -> tuple[Layer, ...]:
    """The neuron layers of a graph, in order.

    Args:
        graph: the integer graph.
        tally: of a run.
        activity: the bundle's document of the calibration.
        ledger: the bundle's document of the comparisons.
    """
    grids = _grids(activity)
    compared = {
        row["layer"]: (row["cells"], row["flips"])
        for entry in ledger
        for row in entry["detail"].get("layers", [])
    }
    layers = []
    for node in graph.neurons():
        shape = graph.types[node.output].shape
        neurons, spikes = graph.types[node.output].size, int(tally.fired[node.name].sum())
        chances = neurons * tally.samples
        step_rates = tuple(int(count) / chances for count in tally.fired_in_step[node.name])
        layers.append(
            Layer(
                node.name,
                shape,
                neurons,
                spikes,
                spikes / (chances * tally.steps),
                step_rates,
                activity["rates"].get(node.name),
                *compared.get(node.name, (0, 0)),
                tuple(grids[name] for name in _driving(graph, node, grids)),
            )
        )
    return tuple(layers)


def unread_weights(graph: Graph, activity: Mapping[str, Any]) -> tuple[WeightGrid, ...]:
    """The weights whose sums drive no neuron layer: those of the readout."""
    grids = _grids(activity)
    read = {name for node in graph.neurons() for name in _driving(graph, node, grids)}
    return tuple(grid for name, grid in grids.items() if name not in read)


def _grids(activity: Mapping[str, Any]) -> dict[str, WeightGrid]:
    return {
        row["layer"]: WeightGrid(row["layer"], row["bits"], row["error"], row["halvings"])
        for row in activity["weights"]
    }


def _driving(graph: Graph, neuron: Node, grids: Mapping[str, WeightGrid]) -> list[str]:
    """Names of the nodes with weights that a neuron layer's input consists of."""
    found: list[str] = []
    waiting, seen = list(neuron.inputs), set(neuron.inputs)
    while waiting:
        node = graph.producers.get(waiting.pop(0))
        if node is None or node.op.work == "update":
            continue
        if node.name in grids:
            found.append(node.name)
            continue
        waiting += [name for name in node.inputs if name not in seen]
        seen.update(node.inputs)
    return list(dict.fromkeys(found))
