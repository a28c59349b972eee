"""What a run adds up over its samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spikeloom.compiler.graph.graph import Graph
from spikeloom.errors import InputError
from spikeloom.runtime.events.stream import DropReport
from spikeloom.runtime.log.journal import SampleRecord
from spikeloom.runtime.metric import Function, Metric, measured
from spikeloom.runtime.score import wilson_interval
from spikeloom.runtime.spikelog import Places, Predictions, SpikeLog


class RunTally:
    """Sums over samples.

    Attributes:
        spikes: the counts of spikes.
        predictions: the evidence after each step of each sample.
        dropped: events that reached no frame.
    """

    def __init__(self, graph: Graph, places: Mapping[str, Places]) -> None:
        neurons = {node.name: graph.types[node.name].size for node in graph.neurons()}
        self.spikes = SpikeLog(neurons, places=places)
        self.predictions = Predictions()
        self.dropped = DropReport()
        self._answers: list[tuple[int | None, int]] = []
        self._last: list[np.ndarray[Any, np.dtype[np.float64]]] = []
        self._steps = 0
        self._sets: list[tuple[bool, int]] = []  # whether the label is kept, and how many classes are

    def add(self, record: SampleRecord) -> None:
        """Count one sample."""
        self.dropped = self.dropped + record.dropped
        self.predictions.record(record.name, record.label, record.evidence)
        for layer, activity in record.layers.items():
            self.spikes.add(record.name, layer, activity.fired, activity.levels)
        self._answers.append((record.label, record.prediction))
        self._last.append(record.evidence[-1])
        self._steps += len(record.evidence)
        if record.candidates is not None:
            self._sets.append((record.label in record.candidates, len(record.candidates)))

    def measured(self, spec: str, function: Function) -> Metric:
        """A metric of the user over the samples that have a label.

        Raises:
            InputError: SL0120, none has a label; SL0121, the function gives no number.
        """
        rows = [(last, label) for last, (label, _) in zip(self._last, self._answers, strict=True)]
        labelled = [(last, label) for last, label in rows if label is not None]
        if not labelled:
            raise InputError.of("SL0120", spec, "needs labels, and no sample has one", remedy="give --labels")
        evidence = np.stack([last for last, _ in labelled])
        return measured(spec, function, evidence, np.array([label for _, label in labelled]))

    def document(self, early: bool) -> dict[str, Any]:
        """The totals as a JSON object; ``early``: whether samples may stop early."""
        document: dict[str, Any] = {
            "samples": len(self._answers),
            "spikes_total": self.spikes.spikes_total,
            "layers": [total.to_json() for total in self.spikes.totals()],
            "dropped_events": self.dropped.to_json(),
        }
        if early:
            document["steps_mean"] = self._steps / max(len(self._answers), 1)
        if self._sets:
            document["candidates_mean"] = sum(size for _, size in self._sets) / len(self._sets)
        right = [label == prediction for label, prediction in self._answers if label is not None]
        if right:
            low, high = wilson_interval(sum(right), len(right))
            document["accuracy"] = sum(right) / len(right)
            document["accuracy_interval"] = [low, high]
            document["right"] = sum(right)
            document["labelled"] = len(right)
            if self._sets and len(right) == len(self._sets):
                document["covered"] = sum(kept for kept, _ in self._sets) / len(self._sets)
        return document
