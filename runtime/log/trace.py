"""A log as a trace that Perfetto and chrome://tracing show: layers and cores over time.

The JSON of the Trace Event Format (Google): a process for the layers, with a slice for each step of each
layer, and counters of the spikes of each layer and of each core. Times are those of the sensor where its
steps have a duration; otherwise a step is a millisecond. Samples follow each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spikeloom.atomic import replacing
from spikeloom.runtime.log.journal import About, SampleRecord, read_log

LAYERS, CORES = 1, 2
_STEP_US = 1000


def write_trace(log: Path | str, path: Path | str, sample: str | None = None) -> int:
    """Write the trace of all samples of a log, or of one; return the number of its events.

    Raises:
        InputError: SL0811, the log cannot be read; SL0902, the path cannot be written.
    """
    about, records = read_log(log)
    count = 0
    with replacing(Path(path)) as draft, draft.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
        for event in _events(about, (r for r in records if sample in (None, r.name))):
            file.write((",\n" if count else "") + json.dumps(event))
            count += 1
        file.write("\n]}\n")
    return count


def _events(about: About, records: Iterator[SampleRecord]) -> Iterator[dict[str, Any]]:
    step_us = about.step_us or _STEP_US
    yield _named("process_name", LAYERS, 0, "layers")
    yield _named("process_name", CORES, 0, "cores")
    yield _named("thread_name", LAYERS, 0, "samples")
    for number, layer in enumerate(about.shapes, 1):
        yield _named("thread_name", LAYERS, number, layer)
    begin = 0
    for record in records:
        steps = len(record.evidence)
        answer = {"label": record.label, "prediction": record.prediction}
        yield _slice(record.name, 0, begin, steps * step_us, answer)
        for step in range(steps):
            yield from _step(about, record, step, begin + step * step_us, step_us)
        begin += steps * step_us
    yield from _zeros(about, begin)


def _step(about: About, record: SampleRecord, step: int, at: int, long: int) -> Iterator[dict[str, Any]]:
    cores: dict[int, int] = {}
    for number, name in enumerate(about.shapes, 1):
        layer = record.layers[name]
        spikes = int(layer.fired[step].sum())
        rate = spikes / about.layers[name]
        yield _slice(f"step {step}", number, at, long, {"spikes": spikes, "rate": round(rate, 6)})
        yield _counter(f"spikes of {name}", LAYERS, at, spikes)
        for core, fired in zip(layer.cores.tolist(), layer.fired[step].tolist(), strict=True):
            cores[core] = cores.get(core, 0) + fired
    for core, fired in sorted(cores.items()):
        if core >= 0:
            yield _counter(f"spikes of core {core:04d}", CORES, at, fired)


def _zeros(about: About, at: int) -> Iterator[dict[str, Any]]:
    """Counters hold their value until the next; these end them."""
    for name in about.shapes:
        yield _counter(f"spikes of {name}", LAYERS, at, 0)


def _named(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}


def _slice(name: str, thread: int, at: int, long: int, about: Mapping[str, Any]) -> dict[str, Any]:
    return {"ph": "X", "name": name, "pid": LAYERS, "tid": thread, "ts": at, "dur": long, "args": dict(about)}


def _counter(name: str, process: int, at: int, value: int) -> dict[str, Any]:
    return {"ph": "C", "name": name, "pid": process, "ts": at, "args": {"spikes": value}}
