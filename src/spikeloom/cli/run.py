"""``spikeloom run``: recordings through a compiled network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from spikeloom.atomic import require_writable
from spikeloom.cli.console import counted, percent, print_dropped, print_json, progress, table
from spikeloom.cli.console import output as console
from spikeloom.cli.sources import Data, Events, Inputs, Json, Labels, Strict, open_samples
from spikeloom.compiler.bundle import Bundle, read_bundle
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.errors import InputError
from spikeloom.runtime.events.samples import Sample, Samples
from spikeloom.runtime.events.stream import DropReport
from spikeloom.runtime.score import wilson_interval
from spikeloom.runtime.session import Session
from spikeloom.runtime.spikelog import Predictions, SpikeLog


def run(
    bundle: Annotated[Path, typer.Argument(help="A compiled network.")],
    events: Events = None,
    inputs: Inputs = None,
    data: Data = None,
    labels: Labels = None,
    engine: Annotated[
        str, typer.Option(help="What executes the network: event, onnx or reference.")
    ] = "onnx",
    log: Annotated[Path | None, typer.Option(help="Write the spike counts to this Parquet file.")] = None,
    outputs: Annotated[
        Path | None, typer.Option(help="Write the class evidence to this Parquet file.")
    ] = None,
    strict: Strict = True,
    json: Json = False,
) -> None:
    """Run samples through a compiled network and count its spikes."""
    _require_writable(log, outputs)
    compiled = read_bundle(bundle)
    session = Session(compiled, engine)
    samples = open_samples(session.recipe, session.input_shape, events, inputs, data, labels, strict)
    tally = _Tally(compiled)
    with progress(len(samples), "running") as bar:
        for result in session.run(_followed(samples, tally)):
            tally.add(result.sample, result.evidence, result.prediction, result.spikes)
            bar.advance(bar.task_ids[0])
    if log is not None:
        tally.spikes.write(log)
    if outputs is not None:
        tally.predictions.write(outputs)
    document = tally.document()
    if json:
        print_json(document)
    else:
        _print(document)


def _require_writable(log: Path | None, outputs: Path | None) -> None:
    """Refuse outputs that could not be written, before anything is run."""
    for path in filter(None, (log, outputs)):
        require_writable(path)
    if log is not None and outputs is not None and log.resolve() == outputs.resolve():
        raise InputError.of("SL0902", log, "--log and --outputs name the same file")


def _followed(samples: Samples, tally: _Tally) -> Iterator[Sample]:
    for sample in samples:
        tally.dropped = tally.dropped + sample.report
        yield sample


class _Tally:
    """What a run adds up."""

    def __init__(self, bundle: Bundle) -> None:
        graph = bundle.graph
        neurons = {node.name: graph.types[node.name].size for node in graph.neurons()}
        self.spikes = SpikeLog(neurons, _cores(bundle, list(neurons)))
        self.predictions = Predictions()
        self.dropped = DropReport()
        self.samples = self.labelled = self.right = 0

    def add(
        self,
        sample: Sample,
        evidence: NDArray[np.float64],
        prediction: int,
        spikes: Mapping[str, NDArray[np.uint8]],
    ) -> None:
        """Count one sample."""
        self.samples += 1
        self.predictions.record(sample.name, sample.label, evidence)
        for layer, values in spikes.items():
            self.spikes.record(sample.name, layer, values)
        if sample.label is not None:
            self.labelled += 1
            self.right += int(prediction == sample.label)

    def document(self) -> dict[str, Any]:
        """The totals as a JSON object."""
        layers = [total.to_json() for total in self.spikes.totals()]
        document: dict[str, Any] = {
            "samples": self.samples,
            "spikes_total": self.spikes.spikes_total,
            "layers": layers,
            "dropped_events": self.dropped.to_json(),
        }
        if self.labelled:
            low, high = wilson_interval(self.right, self.labelled)
            document["accuracy"] = self.right / self.labelled
            document["accuracy_interval"] = [low, high]
            document["right"] = self.right
            document["labelled"] = self.labelled
        return document


def _cores(bundle: Bundle, layers: list[str]) -> dict[str, NDArray[np.int32]] | None:
    if "mapping.json" not in bundle.members:
        return None
    mapping = ChipMapping.from_json(bundle.json("mapping.json"), bundle.json("network.json"))
    return {layer: mapping.cores_of(layer) for layer in layers}


def _print(document: dict[str, Any]) -> None:
    layers = table("Neuron layers", "layer", "neurons", "spikes", "firing rate")
    for layer in document["layers"]:
        layers.add_row(layer["name"], f"{layer['neurons']:,}", f"{layer['spikes']:,}", percent(layer["rate"]))
    console.print(layers)
    console.print(f"\n{counted(document['samples'], 'sample')}, {counted(document['spikes_total'], 'spike')}")
    if "accuracy" in document:
        low, high = document["accuracy_interval"]
        console.print(
            f"{document['right']} of {document['labelled']} right: accuracy {percent(document['accuracy'])}, "
            f"95 % interval {percent(low)} to {percent(high)}"
        )
    print_dropped(document["dropped_events"])
