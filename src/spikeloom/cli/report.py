"""``spikeloom report``: a page about a compiled network and what it does on recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikeloom.atomic import require_writable, write_text
from spikeloom.cli.console import counted, print_json, progress
from spikeloom.cli.console import output as console
from spikeloom.cli.sources import Data, Events, Inputs, Json, Labels, Strict, open_samples
from spikeloom.compiler.bundle import read_bundle
from spikeloom.runtime.events.array_recipe import read_recipe

if TYPE_CHECKING:
    from spikeloom.runtime.report.collect import Report


def report(
    bundle: Annotated[Path, typer.Argument(help="A compiled network.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write (HTML).")],
    events: Events = None,
    inputs: Inputs = None,
    data: Data = None,
    labels: Labels = None,
    engine: Annotated[str, typer.Option(help="What executes the network: onnx or reference.")] = "onnx",
    show: Annotated[
        str | None,
        typer.Option(help="The recording to show in full; the first one by default.", metavar="NAME"),
    ] = None,
    strict: Strict = True,
    json: Json = False,
) -> None:
    """Write one HTML page: accuracy, layers, a recording, cores, latency, energy, and every source."""
    from spikeloom.runtime.report.collect import collect
    from spikeloom.runtime.report.page import render

    require_writable(output)
    compiled = read_bundle(bundle)
    recipe = read_recipe(compiled.json("recipe.json"))
    shape = compiled.graph.types[compiled.graph.inputs[0]].shape
    samples = open_samples(recipe, shape, events, inputs, data, labels, strict)
    with progress(2 * len(samples), "running and counting") as bar:
        result = collect(compiled, samples, engine, show, lambda: bar.advance(bar.task_ids[0]))
    page = render(result)
    write_text(output, page)
    document = _summary(result, output, len(page.encode()))
    if json:
        print_json(document)
    else:
        samples_shown = counted(document["samples"], "sample")
        console.print(f"wrote {output} ({document['bytes']:,} bytes), {samples_shown}", markup=False)


def _summary(result: Report, path: Path, size: int) -> dict[str, Any]:
    document = {
        "report": str(path),
        "bytes": size,
        "samples": result.samples,
        "spikes_total": result.spikes,
        "shown": result.recording.name,
    }
    return document | ({"accuracy": result.score.accuracy} if result.score else {})
