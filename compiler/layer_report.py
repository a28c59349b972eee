"""What quantization did to each layer, for a person: bits, range, flips, firing rates, alarms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spikeloom.compiler.agreement import Agreement, LayerAgreement
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.quantize.activity import weighted_nodes
from spikeloom.compiler.quantize.driven import driven_neuron
from spikeloom.compiler.quantize.quantize import Quantized
from spikeloom.compiler.quantize.walk import LayerGrid

FADES, SATURATED, SOARS = 0.25, 0.95, 4.0
"""Shares of the trained rate, of all steps, and of the trained rate, from where a layer gives alarm."""


@dataclass(frozen=True)
class LayerReport:
    """One layer of neurons with the weights that drive it alone; or weights that drive no layer alone.

    Attributes:
        layer: of neurons; "" if there is none.
        weights: the layer with weights; "" if there is none.
        bits: width of a weight; 0 without weights.
        largest: the largest magnitude of a weight, out of ``limit``: the range that is used.
        error: relative root mean square error of the layer's sums on the calibration recordings.
        forced: share of decisions that differ from the trained ones, from equal inputs and membranes; None
            where nothing was compared so.
        cumulative: share of decisions (a neuron in a time step) that differ when both networks run alone.
        trained, integer: firing rates, spikes per neuron and step.
        alarm: what is wrong; "" if nothing is.
    """

    layer: str
    weights: str
    bits: int = 0
    largest: int = 0
    limit: int = 0
    error: float | None = None
    forced: float | None = None
    cumulative: float | None = None
    trained: float | None = None
    integer: float | None = None
    alarm: str = ""

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object with the attributes as keys."""
        return asdict(self)


def report_layers(
    canonical: Graph, quantized: Quantized, agreement: Agreement, forced: Mapping[str, float]
) -> tuple[LayerReport, ...]:
    """A report for each layer, in the order of the network.

    Args:
        canonical: the graph that was quantized.
        quantized: made from it.
        agreement: of the two when they run alone.
        forced: by neuron layer, the share of decisions that differ from equal inputs and membranes.
    """
    grids = {grid.layer: grid for grid in quantized.grids}
    measured = {layer.layer: layer for layer in agreement.layers}
    return tuple(
        _report(layer, grids.get(weights), measured.get(layer), forced.get(layer))
        for layer, weights in _pairs(canonical)
    )


def alarm_of(trained: float, integer: float) -> str:
    """What is wrong with the firing rate of a layer.

    >>> alarm_of(0.2, 0.0), alarm_of(0.2, 0.01), alarm_of(0.1, 0.97), alarm_of(0.1, 0.5), alarm_of(0.2, 0.21)
    ('died', 'fades', 'saturates', 'soars', '')
    """
    if integer == 0 < trained:
        return "died"
    if integer < FADES * trained:
        return "fades"
    if trained < SATURATED <= integer:
        return "saturates"
    return "soars" if integer > SOARS * trained > 0 else ""


def _pairs(graph: Graph) -> Iterator[tuple[str, str]]:
    """Each neuron layer with the weights that drive it alone, and each layer of weights that drives none."""
    weights = {node.name: driven_neuron(graph, node) for node in weighted_nodes(graph)}
    driven = {neuron.name: name for name, neuron in weights.items() if neuron is not None}
    neurons = {node.name for node in graph.neurons()}
    for node in graph.nodes:
        if node.name in neurons:
            yield node.name, driven.get(node.name, "")
        elif node.name in weights and weights[node.name] is None:
            yield "", node.name


def _report(
    layer: str, grid: LayerGrid | None, rates: LayerAgreement | None, forced: float | None
) -> LayerReport:
    found = LayerReport(layer, "", forced=forced)
    if grid is not None:
        limit = 2 ** (grid.bits - 1) - 1
        found = LayerReport(
            layer, grid.layer, grid.bits, grid.largest, limit, error=grid.error, forced=forced
        )
    if rates is None:
        return found
    trained, integer = rates.rate_trained, rates.rate_integer
    own = {"cumulative": rates.flips / rates.cells, "trained": trained, "integer": integer}
    return LayerReport(**{**asdict(found), **own, "alarm": alarm_of(trained, integer)})
