"""``spikeloom verify``: do all engines give the same spikes?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from spikeloom.cli.console import comparisons, counted, print_json, printable, progress, table
from spikeloom.cli.console import output as console
from spikeloom.cli.options import BundleFile, spread
from spikeloom.cli.sources import Json, SampleOptions
from spikeloom.compiler.bundle import Bundle, read_bundle
from spikeloom.errors import InputError, MismatchError
from spikeloom.runtime.compare import Divergence, EngineComparison, compare_engines
from spikeloom.runtime.events.samples.sample import Sample, Samples
from spikeloom.runtime.session import BATCH, open_bundle_engine, stack_frames


@spread
def verify(
    bundle: BundleFile,
    samples: SampleOptions,
    engines: Annotated[
        str, typer.Option(help="Engines to compare; the first is what the others must equal.")
    ] = ("reference,onnx"),
    json: Json = False,
) -> int:
    """Run engines on the same samples and compare every spike of every neuron layer.

    Without samples, the traces stored in the bundle are used. Exit status 3 if anything differs.
    """
    compiled = read_bundle(bundle)
    names = [name.strip() for name in engines.split(",") if name.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError.of("SL0901", "--engines", "names two engines or more", got=engines)
    opened = {name: open_bundle_engine(compiled, name) for name in names}
    if not samples.named:
        result = compare_engines(opened, [("trace", compiled.tensors("traces.safetensors")["frames"])])
    else:
        opened_samples = samples.open(compiled)
        with progress(len(opened_samples), "verifying") as bar:
            batches = _batches(opened_samples, lambda count: bar.advance(bar.task_ids[0], count))
            result = compare_engines(opened, batches)
    document = {**result.to_json(), "against_trained": _against_trained(compiled)}
    if json:
        print_json(document)
    else:
        _print(compiled, result)
    return MismatchError.exit_status if result.mismatches else 0


def _batches(samples: Samples, done: Any) -> Iterator[tuple[list[str], NDArray[np.uint8]]]:
    waiting: list[Sample] = []
    for index, sample in enumerate(samples):
        waiting.append(sample)
        if len(waiting) == BATCH or index == len(samples) - 1:
            yield [one.name for one in waiting], stack_frames(waiting)
            done(len(waiting))
            waiting = []


def _against_trained(bundle: Bundle) -> list[dict[str, Any]]:
    """What the compiler measured against PyTorch: reported, never called exact."""
    keys = ("stage", "against", "samples", "cells", "differing", "tolerance")
    return [{key: entry[key] for key in keys} for entry in bundle.json("ledger.json")]


def _print(bundle: Bundle, result: EngineComparison) -> None:
    first, *others = result.engines
    title = f"{', '.join(others)} against {first}, {counted(result.samples, 'sample')}"
    layers = table(title, "layer", "mismatches")
    for layer, count in (result.layers or {}).items():
        layers.add_row(layer, f"{count:,}")
    console.print(layers)
    number = result.mismatches
    differing = counted(number, "mismatch", "mismatches") if number else "no mismatch"
    console.print(f"\n{counted(result.cells, 'spike cell')} compared, {differing}")
    if result.first is not None:
        console.print(printable(_where(result.first)), markup=False)
    console.print(comparisons("\nWhile it was compiled", _against_trained(bundle)))


def _where(first: Divergence) -> str:
    return (
        f"the first: {first.engine} at sample {first.sample}, step {first.step}, layer {first.layer}, "
        f"neuron {list(first.neuron)}: {first.got} instead of {first.wanted}"
    )
