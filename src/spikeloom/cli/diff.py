"""``spikeloom diff``: where two engines part, and what lies behind it."""

from __future__ import annotations

from dataclasses import asdict, astuple
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from spikeloom.cli.console import output as console
from spikeloom.cli.console import percent, print_json, printable, table
from spikeloom.cli.model import BuildOptions
from spikeloom.cli.options import BundleFile, spread
from spikeloom.cli.sources import Json, SampleOptions
from spikeloom.cli.trained import TrainedMembrane, trained_membrane
from spikeloom.compiler.bundle import Bundle, read_bundle
from spikeloom.compiler.graph.engine import Engine, Trace
from spikeloom.errors import InputError, MismatchError
from spikeloom.runtime.divergence import Explanation, explain, first_difference
from spikeloom.runtime.session import open_bundle_engine, run_from_reset, stack_frames

TRAINED = "trained"


@spread
def diff(
    bundle: BundleFile,
    *,
    samples: SampleOptions,
    model: Annotated[
        str | None,
        typer.Option(
            help="The trained model, for its membrane.",
            metavar="FILE.py:factory",
            rich_help_panel=BuildOptions.PANEL,
        ),
    ] = None,
    build: BuildOptions,
    engines: Annotated[
        str,
        typer.Option(
            help="Two engines; `trained` as the first is eager PyTorch on the samples stored in the bundle."
        ),
    ] = "reference,event",
    json: Json = False,
) -> int:
    """Name the first difference of two engines: sample, step, layer, neuron, membranes, margin.

    Without samples, those stored in the bundle are used. Samples are looked at one after the other, and the
    first that differs ends the search. Exit status 3 if there is one. A bundle holds the spikes of the
    trained model and not its membranes: with `--engines trained,event --model ...` they are computed.
    """
    compiled = read_bundle(bundle)
    names = tuple(name.strip() for name in engines.split(","))
    if len(set(names)) != 2 or names[1] == TRAINED:
        raise InputError.of(
            "SL0901", "--engines", "names two engines, `trained` only as the first", got=engines
        )
    if model is not None and names[0] != TRAINED:
        raise InputError.of("SL0901", "--model", "is looked at with `--engines trained,...` only")
    if names[0] == TRAINED and samples.named:
        raise InputError.of("SL0901", "--engines", "`trained` is known on the samples in the bundle only")
    opened = {name: open_bundle_engine(compiled, name) for name in names if name != TRAINED}
    found, label, trained = None, "", None
    for name, frames, stored in _samples(compiled, samples):
        label, found = name, _difference(compiled, names, opened, frames, stored)
        if found is not None and model is not None:
            trained = trained_membrane(compiled, build.source(model), stored, found.place)
        if found is not None:
            break
    document = {"engines": list(names), "sample": label, "difference": found and found.to_json()}
    if trained is not None:
        document["trained"] = asdict(trained)
    if json:
        print_json(document)
    else:
        _print(names, label, found)
        _print_trained(trained)
    return 0 if found is None else MismatchError.exit_status


def _samples(bundle: Bundle, samples: SampleOptions) -> Any:
    """Names, frames [steps, 1, ...] and, of stored samples, what eager PyTorch did."""
    if not samples.named:
        traces = bundle.tensors("traces.safetensors")
        for index in range(traces["frames"].shape[1]):
            one = slice(index, index + 1)
            yield str(index), traces["frames"][:, one], {key: array[:, one] for key, array in traces.items()}
        return
    for sample in samples.open(bundle):
        yield sample.name, stack_frames([sample]), {}


def _difference(
    bundle: Bundle,
    names: tuple[str, ...],
    engines: dict[str, Engine],
    frames: NDArray[np.uint8],
    stored: dict[str, NDArray[Any]],
) -> Explanation | None:
    got = run_from_reset(engines[names[1]], frames)
    if names[0] == TRAINED:
        wanted, got = _trained(bundle, stored, got)
    else:
        wanted = run_from_reset(engines[names[0]], frames)
    place = first_difference(bundle.graph, wanted, got)
    return None if place is None else explain(bundle.graph, engines, frames, place)


def _trained(bundle: Bundle, stored: dict[str, NDArray[Any]], got: Trace) -> tuple[Trace, Trace]:
    """The stored spikes of eager PyTorch, each layer as late as it is in the integer network."""
    graph, wanted = bundle.graph, {}
    for layer, spikes in got.spikes.items():
        if f"spikes/{layer}" in stored:
            trained = stored[f"spikes/{layer}"].reshape(-1, *spikes.shape[1:])
            late = graph.lateness[graph.node(layer).output]
            steps = min(len(trained), len(spikes) - late)
            wanted[layer] = np.array(spikes)
            wanted[layer][late : late + steps] = trained[:steps]
    return Trace(got.output, wanted), got  # outputs are real numbers there, and never equal


def _print(names: tuple[str, ...], label: str, found: Explanation | None) -> None:
    first, second = names
    if found is None:
        console.print(f"{second} does not differ from {first}")
        return
    place = found.place
    where = f"sample {label}, step {place.step}, layer {place.layer}, neuron {list(place.neuron)}"
    console.print(printable(f"{second} parts from {first} at {where}"), markup=False)
    console.print(f"{first}: {place.wanted:g}, {second}: {place.got:g}")
    if found.membranes:
        shown = table("", "engine", "membrane before", "potential", "above threshold by", "membrane after")
        for name, membrane in found.membranes.items():
            shown.add_row(name, *(f"{number:,}" for number in astuple(membrane)))
        console.print(shown)
        thresholds = ", ".join(f"{theta:,}" for theta in found.thresholds)
        console.print(f"it fires above {thresholds}, in state units")
    if found.states:
        console.print(
            printable(f"states that differed before that step: {', '.join(found.states)}"), markup=False
        )


def _print_trained(membrane: TrainedMembrane | None) -> None:
    if membrane is None:
        return
    console.print(
        f"trained: membrane {membrane.before:.6g} before the step, potential {membrane.potential:.6g}, "
        f"threshold {membrane.threshold:.6g}, above it by {membrane.margin:.3g} "
        f"({percent(membrane.margin / membrane.threshold)} of it), in the model's units"
    )
