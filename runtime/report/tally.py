"""What a run adds up, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph
from spikeloom.runtime.session import SampleResult


@dataclass(frozen=True)
class Mistake:
    """A sample that was given another class than its label."""

    name: str
    label: int
    prediction: int


class Tally:
    """Sums over samples.

    Attributes:
        samples, labelled: how many were seen, and how many of them have a label.
        mistakes: those that were given another class than their label.
        steps: time steps of a sample.
        fired: of each neuron layer, how often each of its neurons fired, in the layer's shape.
        fired_in_step: of each neuron layer [steps], how many of its neurons fired.
    """

    def __init__(self, graph: Graph) -> None:
        self.samples = self.labelled = self.steps = 0
        self.mistakes: list[Mistake] = []
        shapes = {node.name: graph.types[node.output].shape for node in graph.neurons()}
        self.fired: dict[str, NDArray[np.int64]] = {
            name: np.zeros(shape, np.int64) for name, shape in shapes.items()
        }
        self.fired_in_step: dict[str, NDArray[np.int64]] = {}

    def add(self, result: SampleResult) -> None:
        """Count one sample."""
        self.samples += 1
        self.steps = len(result.evidence)
        for layer, spikes in result.spikes.items():
            fired = spikes != 0
            self.fired[layer] += fired.sum(0)
            in_step = fired.reshape(len(fired), -1).sum(1)
            self.fired_in_step[layer] = self.fired_in_step.get(layer, np.zeros_like(in_step)) + in_step
        sample = result.sample
        if sample.label is not None:
            self.labelled += 1
            if result.prediction != sample.label:
                self.mistakes.append(Mistake(sample.name, sample.label, result.prediction))
