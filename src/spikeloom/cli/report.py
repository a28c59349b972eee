"""``spikeloom report``: a page about a compiled network and what it does on recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikeloom.atomic import require_writable, write_text
from spikeloom.cli.console import counted, print_json, progress
from spikeloom.cli.console import output as console
from spikeloom.cli.options import BundleFile, EngineName, spread
from spikeloom.cli.outputs import require_suffix
from spikeloom.cli.sources import Json, SampleOptions
from spikeloom.compiler.bundle import read_bundle

if TYPE_CHECKING:
    from spikeloom.runtime.report.collect import Report


@spread
def report(
    bundle: BundleFile,
    samples: SampleOptions,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write (HTML).")],
    engine: EngineName = "onnx",
    show: Annotated[
        str | None,
        typer.Option(help="The recording to show in full; the first one by default.", metavar="NAME"),
    ] = None,
    json: Json = False,
) -> None:
    """Write one HTML page: accuracy, layers, a recording, cores, latency, energy, and every source."""
    from spikeloom.runtime.report.collect import collect
    from spikeloom.runtime.report.page import render

    require_suffix("--output", output, ".html", ".htm")
    require_writable(output)
    compiled = read_bundle(bundle)
    opened = samples.open(compiled)
    with progress(2 * len(opened), "running and counting") as bar:
        result = collect(compiled, opened, engine, show, lambda: bar.advance(bar.task_ids[0]))
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
