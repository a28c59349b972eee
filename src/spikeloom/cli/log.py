"""``spikeloom log``: what is in the log of a run, as tables, SONATA, a trace and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.cli.console import counted, print_json, table
from spikeloom.cli.console import output as console
from spikeloom.cli.outputs import require_suffix
from spikeloom.cli.sources import Json
from spikeloom.runtime.log.journal import read_log
from spikeloom.runtime.log.pictures import write_pictures
from spikeloom.runtime.log.sonata import write_sonata
from spikeloom.runtime.log.tables import write_counts, write_evidence, write_trains
from spikeloom.runtime.log.trace import write_trace
from spikeloom.runtime.score import wilson_interval


def log(
    file: Annotated[Path, typer.Argument(help="A log: of `spikeloom run --log FILE.spikelog`.")],
    counts: Annotated[
        Path | None, typer.Option(help="Write spikes by sample, step, layer and core to this Parquet file.")
    ] = None,
    evidence: Annotated[
        Path | None, typer.Option(help="Write the class evidence by sample and step to this Parquet file.")
    ] = None,
    spikes: Annotated[
        Path | None, typer.Option(help="Write each spike to this Parquet file; needs --detail neuron.")
    ] = None,
    sonata: Annotated[
        Path | None, typer.Option(help="Write each spike to this SONATA file (.h5); needs --detail neuron.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write a trace of layers and cores for Perfetto (.json).")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Draw it into this folder.")] = None,
    sample: Annotated[
        str | None, typer.Option(help="Only this sample: of --sonata, --trace; and shown by --plots.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the log of a run, finished or not, and write it in other formats."""
    for option, path in (("--counts", counts), ("--evidence", evidence), ("--spikes", spikes)):
        require_suffix(option, path, ".parquet")
    require_suffix("--sonata", sonata, ".h5", ".hdf5")
    require_suffix("--trace", trace, ".json")
    document = _summary(file)
    if counts is not None:
        write_counts(file, counts)
    if evidence is not None:
        write_evidence(file, evidence)
    if spikes is not None:
        write_trains(file, spikes)
    if sonata is not None:
        document["sonata"] = write_sonata(file, sonata, sample)
    if trace is not None:
        document["trace_events"] = write_trace(file, trace, sample)
    if plots is not None:
        document["plots"] = [str(path) for path in write_pictures(file, plots, sample)]
    if json:
        print_json(document)
    else:
        _print(file, document)


def _summary(file: Path) -> dict[str, Any]:
    about, records = read_log(file)
    spikes = dict.fromkeys(about.shapes, 0)
    samples = steps = labelled = right = 0
    for record in records:
        samples += 1
        steps += len(record.evidence)
        labelled += record.label is not None
        right += record.label == record.prediction
        for name, layer in record.layers.items():
            spikes[name] += int(layer.fired.sum())
    document: dict[str, Any] = {
        "network": about.network,
        "target": about.target,
        "options": dict(about.options),
        "detail": about.detail,
        "samples": samples,
        "steps": steps,
        "spikes": spikes,
    }
    if labelled:
        document |= {"labelled": labelled, "right": right, "accuracy": right / labelled}
        document["accuracy_interval"] = list(wilson_interval(right, labelled))
    return document


def _print(file: Path, document: dict[str, Any]) -> None:
    shown = table(str(file), "layer", "spikes")
    for name, count in document["spikes"].items():
        shown.add_row(name, f"{count:,}")
    console.print(shown)
    engine = document["options"].get("engine")
    ran = f"{counted(document['samples'], 'sample')}, {counted(document['steps'], 'time step')}"
    console.print(f"\n{ran}, run by {engine}, detail {document['detail']}", markup=False)
    if "labelled" in document:
        console.print(f"{document['right']:,} of {document['labelled']:,} right")
    if document["samples"]:
        return
    console.print("the run had not finished its first sample")
