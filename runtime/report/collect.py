"""Everything that the page shows, as plain data, from a bundle and samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.bundle import Bundle
from spikeloom.errors import InputError
from spikeloom.runtime.estimate.document import estimate_bundle
from spikeloom.runtime.events.samples.sample import Sample, Samples
from spikeloom.runtime.events.stream import DropReport
from spikeloom.runtime.report.cores import Placement, collect_placement
from spikeloom.runtime.report.layers import Layer, WeightGrid, collect_layers, unread_weights
from spikeloom.runtime.report.tally import Mistake, Tally
from spikeloom.runtime.score import wilson_interval
from spikeloom.runtime.session import SampleResult, Session


@dataclass(frozen=True)
class Score:
    """Accuracy on the labelled samples.

    Attributes:
        right, labelled: how many.
        low, high: Wilson's 95 % interval of their quotient.
        mistakes: those that are wrong, in order.
    """

    right: int
    labelled: int
    low: float
    high: float
    mistakes: tuple[Mistake, ...]

    @property
    def accuracy(self) -> float:
        """The share that is right."""
        return self.right / self.labelled


@dataclass(frozen=True)
class Agreement:
    """What the compiler measured between the integer network and trained PyTorch, both running freely.

    Attributes:
        samples: how many recordings.
        predictions: on how many of them both give the same class.
        cells, differing: neurons compared, in each time step, and those that differ.
    """

    samples: int
    predictions: int
    cells: int
    differing: int


@dataclass(frozen=True)
class Recording:
    """One sample in full.

    Attributes:
        name, label, prediction: of the sample.
        frames: [steps, ...], as the network took them.
        evidence: [steps, classes], up to each step.
        spikes: of each neuron layer [steps, ...].
    """

    name: str
    label: int | None
    prediction: int
    frames: NDArray[np.uint8]
    evidence: NDArray[np.float64]
    spikes: Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Report:
    """All that the page shows.

    Attributes:
        manifest: of the bundle, with its members' sizes and digests.
        engine: what executed the network.
        input_type, output_type: of the network, as its graph prints them.
        nodes, neurons, weights: of the graph; weights are stored numbers.
        samples, steps: what was run.
        spikes: of all layers and samples.
        sparsity: share of neuron outputs that are zero.
        dropped: what did not reach the network, by the fields of a ``DropReport``; only what is not zero.
        score: None if no sample has a label.
        agreement: None if the bundle's ledger has no such comparison.
        ledger: the comparisons that the compiler made.
        layers: the neuron layers in order.
        readout: the weights that no neuron layer reads, in order.
        calibrated_on: recordings that the trained rates were measured on.
        recording: the sample that is shown in full.
        placement: None if the target has no cores.
        estimate: the estimate document.
        recipe: how events become frames.
    """

    manifest: Mapping[str, Any]
    engine: str
    input_type: str
    output_type: str
    nodes: int
    neurons: int
    weights: int
    samples: int
    steps: int
    spikes: int
    sparsity: float
    dropped: Mapping[str, int]
    score: Score | None
    agreement: Agreement | None
    ledger: tuple[Mapping[str, Any], ...]
    layers: tuple[Layer, ...]
    readout: tuple[WeightGrid, ...]
    calibrated_on: int
    recording: Recording
    placement: Placement | None
    estimate: Mapping[str, Any]
    recipe: Mapping[str, Any]


def collect(
    bundle: Bundle,
    samples: Samples,
    engine: str = "onnx",
    show: str | None = None,
    done: Callable[[], None] = lambda: None,
) -> Report:
    """Run samples through a bundle twice, for the spikes and for the operations, and gather the rest.

    Args:
        bundle: a compiled network.
        samples: what it is run on.
        engine: what executes it.
        show: name of the sample to show in full; the first one if None.
        done: called twice for each sample.

    Raises:
        InputError: SL0901, no sample is called ``show``; SL0801, the engine cannot run here;
            SL0803, there are no samples or they do not fit; others as the samples say.
    """
    chosen = _chosen(samples, show)
    session = Session(bundle, engine)
    tally = Tally(bundle.graph)
    dropped = _Dropped()
    recording: Recording | None = None
    for index, result in enumerate(session.run(dropped.follow(samples))):
        tally.add(result)
        recording = _recording(result) if index == chosen else recording
        done()
    assert recording is not None
    activity, ledger = bundle.json("activity.json"), bundle.json("ledger.json")
    graph = bundle.graph
    layers = collect_layers(graph, tally, activity, ledger)
    return Report(
        manifest=bundle.manifest,
        engine=engine,
        input_type=str(graph.types[graph.inputs[0]]),
        output_type=str(graph.types[graph.outputs[0]]),
        nodes=len(graph.nodes),
        neurons=sum(layer.neurons for layer in layers),
        weights=sum(node.op.weight.size for node in graph.nodes if hasattr(node.op, "weight")),
        samples=tally.samples,
        steps=tally.steps,
        spikes=sum(layer.spikes for layer in layers),
        sparsity=_sparsity(layers, tally),
        dropped=dropped.counts(),
        score=_score(tally),
        agreement=_agreement(ledger),
        ledger=tuple(ledger),
        layers=layers,
        readout=unread_weights(graph, activity),
        calibrated_on=activity["samples"],
        recording=recording,
        placement=collect_placement(bundle, tally),
        estimate=estimate_bundle(bundle, samples, done),
        recipe=session.recipe.to_json(),
    )


class _Dropped:
    """Adds up the events that were dropped on the way."""

    def __init__(self) -> None:
        self._total = DropReport()

    def follow(self, samples: Samples) -> Iterator[Sample]:
        for sample in samples:
            self._total = self._total + sample.report
            yield sample

    def counts(self) -> dict[str, int]:
        return {name: count for name, count in self._total.to_json().items() if count}


def _chosen(samples: Samples, show: str | None) -> int:
    names = list(samples.names)
    if not names:
        raise InputError.of("SL0803", "samples", "there are none")
    if show is not None and show not in names:
        raise InputError.of(
            "SL0901", "--show", "no sample has this name", wanted=f"such as {names[0]}", got=show
        )
    return 0 if show is None else names.index(show)


def _recording(result: SampleResult) -> Recording:
    sample = result.sample
    return Recording(
        sample.name, sample.label, result.prediction, sample.frames, result.evidence, result.spikes
    )


def _score(tally: Tally) -> Score | None:
    if not tally.labelled:
        return None
    right = tally.labelled - len(tally.mistakes)
    low, high = wilson_interval(right, tally.labelled)
    return Score(right, tally.labelled, low, high, tuple(tally.mistakes))


def _agreement(ledger: list[dict[str, Any]]) -> Agreement | None:
    for entry in ledger:
        if "predictions" in entry["detail"]:
            return Agreement(
                entry["samples"], entry["detail"]["predictions"], entry["cells"], entry["differing"]
            )
    return None


def _sparsity(layers: tuple[Layer, ...], tally: Tally) -> float:
    outputs = sum(layer.neurons for layer in layers) * tally.samples * tally.steps
    return 1 - sum(layer.spikes for layer in layers) / outputs if outputs else 0.0
