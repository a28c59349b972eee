"""What a compiled network does on recordings: the counts that every estimate starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.mapping.network import Network, Population
from spikeloom.errors import InputError
from spikeloom.runtime.estimate.operations import OperationCounter, Operations


@dataclass(frozen=True)
class NetworkActivity:
    """Counts over samples and steps.

    Attributes:
        samples, steps: how many samples, and steps of each.
        nonzero: for each value of the graph, the share of its elements that are not zero.
        operations: per sample.
    """

    samples: int
    steps: int
    nonzero: Mapping[str, float]
    operations: Operations


def measure(graph: Graph, batches: Iterable[NDArray[np.uint8]]) -> NetworkActivity:
    """Run the reference interpreter over batches [steps, samples, ...] and count.

    Raises:
        InputError: SL0803, there are no samples.
    """
    interpreter = Interpreter(graph)
    counter = OperationCounter(graph)
    totals = dict.fromkeys(graph.types, 0)
    samples = steps = 0
    for batch in batches:
        interpreter.reset(batch.shape[1])
        counter.start(batch.shape[1])
        steps = len(batch)
        samples += batch.shape[1]
        for frame in batch:
            values = interpreter.step(frame)
            counter.add(values)
            for name in totals:
                totals[name] += int(np.count_nonzero(values[name]))
    if samples == 0:
        raise InputError.of("SL0803", "samples", "there are none")
    nonzero = {name: total / (samples * steps * graph.types[name].size) for name, total in totals.items()}
    return NetworkActivity(samples, steps, nonzero, counter.result())


def population_rates(network: Network, graph: Graph, activity: NetworkActivity) -> dict[str, float]:
    """Messages per neuron and step of each population.

    An accumulator and a readout send in every step; every other population sends what is not zero.
    """
    return {population.name: _rate(population, graph, activity) for population in network.populations}


def _rate(population: Population, graph: Graph, activity: NetworkActivity) -> float:
    if population.role in ("accumulator", "readout"):
        return 1.0
    if population.name in activity.nonzero:
        return activity.nonzero[population.name]
    return _product_rate(population, graph, activity)


def _product_rate(population: Population, graph: Graph, activity: NetworkActivity) -> float:
    """Of a matrix product, of which no value of the graph holds the single products: those that are not 0."""
    nodes = [n for n in graph.nodes if isinstance(n.op, MatMul) and population.name.startswith(f"{n.name}.")]
    node = max(nodes, key=lambda n: len(n.name))
    counts = next(entry for entry in activity.operations.nodes if entry.node == node.name)
    return float(counts.effective.mean()) / counts.dense
