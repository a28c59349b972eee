"""What a trained network does on calibration recordings: the statistics that rounding needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.errors import InputError, Problem

BATCH = 16


@dataclass(frozen=True)
class Activity:
    """Statistics over samples, time steps and positions.

    Attributes:
        samples, steps: how many were seen.
        rates: firing rate of each neuron layer, spikes per neuron and step.
        moments: for each layer with weights, the mean square [input channels] of its input.
        peaks: for each value, the largest magnitude that was seen, or the largest percentile of a step's.
    """

    samples: int
    steps: int
    rates: Mapping[str, float]
    moments: Mapping[str, Array]
    peaks: Mapping[str, float] = field(default_factory=dict)

    @property
    def silent(self) -> tuple[str, ...]:
        """Neuron layers that never fired."""
        return tuple(name for name, rate in self.rates.items() if rate == 0)


def measure_activity(
    graph: Graph, frames: Array, silence: bool = False, percentile: float = 100.0
) -> Activity:
    """Run a float graph over frames [steps, samples, ...] and collect its statistics.

    Args:
        graph: that is run.
        frames: [steps, samples, ...].
        silence: whether layers that never fire are accepted, as on inputs drawn by chance.
        percentile: of the magnitudes of a value in one step, which its peak is; 100 for the largest.

    Raises:
        InputError: SL0505, there are no samples, or a neuron layer never fires.
    """
    steps, samples = frames.shape[:2]
    if samples == 0:
        raise InputError.of("SL0505", "--calibrate", "holds no recordings")
    totals: dict[str, float] = {node.name: 0.0 for node in graph.neurons()}
    moments: dict[str, Array] = {}
    peaks: dict[str, float] = dict.fromkeys(graph.types, 0.0)
    readers = _weighted_readers(graph)
    interpreter = Interpreter(graph)
    for first in range(0, samples, BATCH):
        batch = frames[:, first : first + BATCH]
        interpreter.reset(batch.shape[1])
        for frame in batch:
            for name, value in interpreter.values(frame):
                peaks[name] = max(peaks[name], _peak(value, percentile))
                if name in totals:
                    totals[name] += float(np.abs(value).sum())
                for node in readers.get(name, ()):
                    mean = _mean_square(node, value) * len(value)
                    moments[node.name] = moments.get(node.name, 0.0) + mean
    rates = {name: total / (samples * steps * graph.types[name].size) for name, total in totals.items()}
    if not silence:
        _refuse_silence(rates)
    means = {name: m / (samples * steps) for name, m in moments.items()}
    return Activity(samples, steps, rates, means, peaks)


def weighted_nodes(graph: Graph) -> list[Node]:
    """The nodes with stored weights, in order."""
    return [node for node in graph.nodes if isinstance(node.op, (Convolution, Linear))]


def _weighted_readers(graph: Graph) -> dict[str, list[Node]]:
    """The nodes with stored weights, by the value that they read."""
    readers: dict[str, list[Node]] = {}
    for node in weighted_nodes(graph):
        readers.setdefault(node.inputs[0], []).append(node)
    return readers


def _mean_square(node: Node, x: Array) -> Array:
    """Mean square per input channel."""
    axes = (0, *range(2, x.ndim)) if isinstance(node.op, Convolution) else tuple(range(x.ndim - 1))
    result: Array = np.square(x).mean(axes)
    return result


def _peak(value: Array, percentile: float) -> float:
    """The percentile of the magnitudes; the largest, where the percentile is that of silence."""
    magnitudes = np.abs(value)
    return float((percentile < 100 and np.percentile(magnitudes, percentile)) or magnitudes.max())


def _refuse_silence(rates: Mapping[str, float]) -> None:
    silent = [name for name, rate in rates.items() if rate == 0]
    if silent:
        raise InputError(
            Problem(
                "SL0505",
                name,
                "never fires on the calibration recordings",
                remedy="calibrate on recordings like those that the model was trained on",
            )
            for name in silent
        )
