"""What a compiled network does on recordings: the counts that every estimate starts from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.mapping.network import Network, Population
from spikeloom.errors import InputError
from spikeloom.runtime.early_exit.rule import ExitRule
from spikeloom.runtime.estimate.neurobench import NeuroBench, StateCounter
from spikeloom.runtime.estimate.operations import OperationCounter, Operations
from spikeloom.runtime.evidence import added, evidence_of


@dataclass(frozen=True)
class NetworkActivity:
    """Counts over samples and steps.

    Attributes:
        samples: how many.
        steps: of each; the mean where an early exit stops some before others.
        input_events: non-zero inputs of a sample, in the steps that were run; the mean.
        nonzero: for each value of the graph, the share of its elements that are not zero.
        operations: per sample.
        neurobench: NeuroBench's metrics.
    """

    samples: int
    steps: float
    input_events: float
    nonzero: Mapping[str, float]
    operations: Operations
    neurobench: NeuroBench


def measure(
    graph: Graph, batches: Iterable[NDArray[np.uint8]], exit_rule: ExitRule | None = None
) -> NetworkActivity:
    """Run the reference interpreter over batches [steps, samples, ...] and count.

    With an exit rule a sample counts up to the step that answers it.

    Raises:
        InputError: SL0803, there are no samples.
    """
    interpreter = Interpreter(graph)
    counter, states = OperationCounter(graph), StateCounter(graph)
    totals = dict.fromkeys(graph.types, 0)
    samples = steps = 0
    for batch in batches:
        samples += batch.shape[1]
        counter.start(batch.shape[1])
        for step, (rows, values, before, after) in enumerate(_steps(interpreter, batch, exit_rule)):
            steps += len(rows)
            counter.add(values, rows)
            states.add(values, before, after, step == 0, rows)
            for name in totals:
                totals[name] += int(np.count_nonzero(values[name]))
    if samples == 0:
        raise InputError.of("SL0803", "samples", "there are none")
    nonzero = {name: total / (steps * graph.types[name].size) for name, total in totals.items()}
    mean = steps // samples if steps % samples == 0 else steps / samples
    operations = counter.result()
    return NetworkActivity(
        samples, mean, totals[graph.inputs[0]] / samples, nonzero, operations, states.result(operations)
    )


def _steps(
    interpreter: Interpreter, batch: NDArray[np.uint8], exit_rule: ExitRule | None
) -> Iterator[tuple[NDArray[np.int64], dict[str, Array], dict[str, Array], dict[str, Array]]]:
    """Each step: the samples that are run in it, every value of theirs, and the state before and after."""
    graph = interpreter.graph
    rows = np.arange(batch.shape[1])
    interpreter.reset(len(rows))
    totals: Array = np.zeros((len(rows), *graph.types[graph.outputs[0]].shape), np.int64)
    for step, frame in enumerate(batch, 1):
        before = dict(interpreter.state)
        values = interpreter.step(frame[rows])
        yield rows, values, before, interpreter.state
        if exit_rule is None:
            continue
        totals = added(graph, totals, values[graph.outputs[0]])
        going = ~exit_rule.stops(evidence_of(graph, totals, step), step)
        if not going.any():
            return
        rows, totals = rows[going], totals[going]
        interpreter.state = {name: array[going] for name, array in interpreter.state.items()}


def population_rates(network: Network, graph: Graph, activity: NetworkActivity) -> dict[str, float]:
    """Messages per neuron and step of each population.

    An accumulator and a readout send in every step; every other population sends what is not zero. Where a
    network step takes several chip steps, it is the messages of all of them.
    """
    return {population.name: _rate(population, graph, activity) for population in network.populations}


def _rate(population: Population, graph: Graph, activity: NetworkActivity) -> float:
    if population.value and population.role == "product":
        node = graph.producers[population.value]
        products = node.op.dense_operations(*graph.input_types(node))
        return _share(node.name, activity) * products / population.size
    if population.value:
        return activity.nonzero[population.value] * graph.types[population.value].size / population.size
    if population.role in ("accumulator", "readout"):
        return 1.0
    if population.name in activity.nonzero:
        return activity.nonzero[population.name]
    return _product_rate(population, graph, activity)


def _product_rate(population: Population, graph: Graph, activity: NetworkActivity) -> float:
    """Of a matrix product, of which no value of the graph holds the single products: those that are not 0."""
    nodes = [n for n in graph.nodes if isinstance(n.op, MatMul) and population.name.startswith(f"{n.name}.")]
    node = max(nodes, key=lambda n: len(n.name))
    return _share(node.name, activity)


def _share(node: str, activity: NetworkActivity) -> float:
    """The share of a node's products that are not 0."""
    counts = next(entry for entry in activity.operations.nodes if entry.node == node)
    return float(counts.effective.mean()) / counts.dense
