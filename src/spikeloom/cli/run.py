"""``spikeloom run``: recordings through a compiled network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.atomic import require_writable
from spikeloom.cli.cluster import ClusterJob, run_on_cluster
from spikeloom.cli.console import counted, percent, print_dropped, print_json, progress, table
from spikeloom.cli.console import output as console
from spikeloom.cli.options import BundleFile, EngineName, ExitRuleFile, spread
from spikeloom.cli.outputs import require_suffix
from spikeloom.cli.sources import Json, SampleOptions
from spikeloom.compiler.bundle import Bundle, read_bundle
from spikeloom.errors import InputError
from spikeloom.runtime.early_exit.calibrate import read_rule
from spikeloom.runtime.early_exit.rule import ExitRule
from spikeloom.runtime.events.labels import FOLDERS
from spikeloom.runtime.events.samples.sample import Samples
from spikeloom.runtime.log.journal import SUFFIX, Journal, Recorder, SampleRecord, read_log
from spikeloom.runtime.metric import Function, load_metric
from spikeloom.runtime.run_log import about_run, recorder_of
from spikeloom.runtime.session import BATCH, Session
from spikeloom.runtime.session_state import network_digest
from spikeloom.runtime.tally import RunTally


@spread
def run(
    bundle: BundleFile,
    source: SampleOptions,
    engine: EngineName = "onnx",
    log: Annotated[
        Path | None,
        typer.Option(
            help=f"Log each sample to this file. {SUFFIX}: crash-safe; a run that was killed goes on after "
            "the last sample in it. .parquet: spike counts, written at the end."
        ),
    ] = None,
    detail: Annotated[
        str, typer.Option(help=f"What a {SUFFIX} keeps: spike counts by core, or each spike: neuron.")
    ] = "core",
    outputs: Annotated[
        Path | None, typer.Option(help="Write the class evidence of each sample to this Parquet file.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="A figure of merit fn(evidence, labels), with a 95 % interval.", metavar="FILE.py:fn"
        ),
    ] = None,
    exit_: ExitRuleFile = None,
    workers: Annotated[int, typer.Option(min=1, help="Threads that run samples side by side.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Samples of a thread side by side.")] = BATCH,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Run on a Dask cluster: the address of its scheduler, or local; the machines must see the "
            "same files.",
            metavar="ADDRESS",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Run samples through a compiled network and count its spikes."""
    _require_writable(log, outputs)
    compiled = read_bundle(bundle)
    function = load_metric(metric) if metric else None
    rule = read_rule(exit_, network_digest(compiled)) if exit_ else None
    session = Session(compiled, engine)
    samples = source.open(compiled)
    recorder = recorder_of(compiled, detail)
    place = ClusterJob(
        _absolute(bundle) or "", network_digest(compiled), engine, _absolute(source.events),
        _absolute(source.inputs), _absolute(source.data), _absolute(source.labels), source.strict, detail,
        _absolute(exit_),
    )  # fmt: skip
    job = _Job(session, samples, recorder, rule, batch, workers, cluster or "", place)
    tally = RunTally(compiled.graph, job.recorder.places)
    keeps = log is not None and log.suffix == SUFFIX
    for record in _logged(job, log, engine) if keeps and log else _computed(job, range(len(samples))):
        tally.add(record)
    if log is not None and not keeps:
        tally.spikes.write(log)
    if outputs is not None:
        tally.predictions.write(outputs)
    document = tally.document(rule is not None) | _metrics(tally, metric, function)
    if json:
        print_json(document)
    else:
        _print(document)


@dataclass(frozen=True)
class _Job:
    """What is run, and how."""

    session: Session
    samples: Samples
    recorder: Recorder
    rule: ExitRule | None
    batch: int
    workers: int
    cluster: str
    remote: ClusterJob

    @property
    def bundle(self) -> Bundle:
        return self.session.bundle


def _require_writable(log: Path | None, outputs: Path | None) -> None:
    """Refuse outputs that could not be written, before anything is run."""
    require_suffix("--log", log, SUFFIX, ".parquet")
    require_suffix("--outputs", outputs, ".parquet")
    for path in filter(None, (log, outputs)):
        require_writable(path)
    if log is not None and outputs is not None and log.resolve() == outputs.resolve():
        raise InputError.of("SL0902", log, "--log and --outputs name the same file")


def _computed(job: _Job, indices: range | list[int]) -> Iterator[SampleRecord]:
    """The records of samples, run now."""
    with progress(len(indices), "running") as bar:
        for record in _there(job, indices) if job.cluster else _here(job, indices):
            yield record
            bar.advance(bar.task_ids[0])


def _here(job: _Job, indices: range | list[int]) -> Iterator[SampleRecord]:
    for result in job.session.run(job.samples.at(indices), job.batch, job.workers, job.rule):
        yield job.recorder.record(result)


def _there(job: _Job, indices: range | list[int]) -> Iterator[SampleRecord]:
    return run_on_cluster(job.cluster, job.remote, list(indices), job.batch, job.workers)


def _absolute(place: Path | str | None) -> str | None:
    """A path, glob or «FILE.py:name» as every process finds it, wherever it was started."""
    if place is None or str(place) == FOLDERS:
        return None if place is None else FOLDERS
    return str(Path.cwd() / place)


def _logged(job: _Job, path: Path, engine: str) -> Iterator[SampleRecord]:
    """Run what is not in the log yet, and give all that is in it then, in the order of the samples."""
    names = list(job.samples.names)
    about = about_run(job.bundle, engine, names, job.recorder, job.rule)
    journal = Journal.open(path, about)
    try:
        if journal.done or journal.cut_off:
            _tell_resumed(path, len(journal.done), len(names), journal.cut_off)
        for record in _computed(job, [i for i, name in enumerate(names) if name not in journal.done]):
            journal.append(record)
    finally:
        journal.close()
    _, records = read_log(path)
    yield from records


def _tell_resumed(path: Path, done: int, total: int, cut_off: int) -> None:
    from spikeloom.cli.console import errors

    errors.print(f"{path}: {done:,} of {counted(total, 'sample')} were done already", markup=False)
    if cut_off:
        errors.print(
            f"{path}: the last record was unfinished and is dropped, {counted(cut_off, 'byte')}", markup=False
        )


def _metrics(tally: RunTally, spec: str | None, function: Function | None) -> dict[str, Any]:
    if spec is None or function is None:
        return {}
    return {"metric": tally.measured(spec, function).to_json()}


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
    if "metric" in document:
        found = document["metric"]
        low, high = found["interval"]
        name, value = found["name"], found["value"]
        console.print(f"{name} {value:.6g}, 95 % interval {low:.6g} to {high:.6g}", markup=False)
    if "steps_mean" in document:
        console.print(f"answered after {document['steps_mean']:.2f} time steps on average")
    if "candidates_mean" in document:
        kept = f", the right one among them {percent(document['covered'])}" if "covered" in document else ""
        console.print(f"{document['candidates_mean']:.2f} classes are left on average{kept}")
    print_dropped(document["dropped_events"])
