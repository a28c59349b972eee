"""A log as pictures: SVG files that stand alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spikeloom.atomic import write_text
from spikeloom.errors import InputError
from spikeloom.runtime.log.journal import About, SampleRecord, read_log
from spikeloom.runtime.report.collect import Recording
from spikeloom.runtime.report.layers import Layer
from spikeloom.runtime.report.plots.evidence import plot_evidence
from spikeloom.runtime.report.plots.figure import standalone
from spikeloom.runtime.report.plots.raster import plot_raster
from spikeloom.runtime.report.plots.rates import plot_rates, plot_step_rates


def write_pictures(log: Path | str, folder: Path | str, sample: str | None = None) -> list[Path]:
    """Draw a log into a folder, which is made if it is not there; return the files.

    ``rates.svg`` and ``step_rates.svg``, over all samples; of one sample, the first if none is named,
    ``evidence.svg`` and, where each spike was kept, ``raster.svg``.

    Raises:
        InputError: SL0811, the log cannot be read or has no such sample; SL0902, the folder cannot be
            written.
    """
    layers = _layers(log)
    about, shown = _sample(log, sample)
    plots = {
        "rates": plot_rates(layers),
        "step_rates": plot_step_rates(layers),
        "evidence": plot_evidence(
            Recording(shown.name, shown.label, shown.prediction, np.zeros(0, np.uint8), shown.evidence, {})
        ),
    }
    if about.detail == "neuron":
        plots["raster"] = plot_raster(about, shown)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError.of("SL0902", folder, f"cannot be written: {error.strerror}") from error
    paths = [Path(folder) / f"{name}.svg" for name in plots]
    for path, svg in zip(paths, plots.values(), strict=True):
        write_text(path, standalone(svg) + "\n")
    return paths


def _sample(log: Path | str, name: str | None) -> tuple[About, SampleRecord]:
    about, records = read_log(log)
    for record in records:
        if name in (None, record.name):
            return about, record
    raise InputError.of("SL0811", log, "has no such sample", got=name or "no sample at all")


def _layers(log: Path | str) -> list[Layer]:
    """The rates of each layer; of a step, over the samples that were run for as long."""
    about, records = read_log(log)
    fired: dict[str, list[int]] = {name: [] for name in about.shapes}
    runs: list[int] = []
    for record in records:
        longer = len(record.evidence) - len(runs)
        runs += [0] * longer
        for step in range(len(record.evidence)):
            runs[step] += 1
        for name, counts in fired.items():
            counts += [0] * longer
            for step, spikes in enumerate(record.layers[name].fired.sum(1).tolist()):
                counts[step] += spikes
    return [_layer(about, name, counts, runs) for name, counts in fired.items()]


def _layer(about: About, name: str, counts: list[int], runs: list[int]) -> Layer:
    neurons = about.layers[name]
    rates = tuple(count / (run * neurons) for count, run in zip(counts, runs, strict=True))
    total = sum(counts)
    rate = total / (sum(runs) * neurons) if runs else 0.0
    return Layer(name, about.shapes[name], neurons, total, rate, rates, None, 0, 0, ())
