"""``spikeloom bench``: how fast the engines are, on a bundle or on a fixed set of networks."""

from __future__ import annotations

from importlib.metadata import version
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from spikeloom.atomic import require_writable, write_text
from spikeloom.cli.console import counted, errors, percent, print_json, si, table
from spikeloom.cli.console import output as console
from spikeloom.cli.model import BuildOptions, ModelSource, load_model
from spikeloom.cli.options import spread
from spikeloom.cli.sources import Json, SampleOptions
from spikeloom.compiler.bundle import Bundle, read_bundle
from spikeloom.errors import InputError
from spikeloom.runtime.bench import Contender, machine, race
from spikeloom.runtime.events.array_recipe import read_recipe
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.session import open_bundle_engine, run_from_reset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spikeloom.compiler.graph.engine import Engine

PEERS = ("SpikingJelly, float32", "ONNX Runtime, float32", "ONNX Runtime, int8", "torch.compile, float32")
FIXED = ("spikformer-2-128", "spikformer-4-384", "spikformer-8-768", "spikegpt-216m")
PEER = "PyTorch eager, float32"


@spread
def bench(
    bundle: Annotated[
        Path | None, typer.Argument(help="A compiled network; without one, the fixed set of networks.")
    ] = None,
    *,
    source: SampleOptions,
    model: Annotated[
        str | None,
        typer.Option(
            help="The trained model, as the peer to compare with.",
            metavar="FILE.py:factory",
            rich_help_panel=BuildOptions.PANEL,
        ),
    ] = None,
    build: BuildOptions,
    rounds: Annotated[int, typer.Option(min=3, help="How often each contender runs all samples.")] = 7,
    samples: Annotated[int, typer.Option(min=1, help="How many samples.")] = 16,
    networks: Annotated[
        str, typer.Option(help="Of the fixed set, by name: " + ", ".join(FIXED) + ".")
    ] = "spikformer-2-128, spikformer-4-384",
    compiles: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Time torch.compile, which takes minutes to begin.")
    ] = False,
    large: Annotated[
        bool, typer.Option("--large/--no-large", help="Peak memory and time to compile of Spikformer-8-768.")
    ] = False,
    lava: Annotated[
        bool, typer.Option("--lava/--no-lava", help="Layers under Lava's simulation, which takes minutes.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Write the figures of the fixed set as JSON.")] = None,
    json: Json = False,
) -> None:
    """Time the engines: batch 1, one thread, all contenders in turn in one process.

    With a bundle, on samples of the recording it was compiled for; without one, on generated networks that
    fire at 15 %, against every peer that is installed and against what the machine could do at best.
    """
    if bundle is None:
        document = _fixed(networks, rounds, compiles, large, lava, output)
        (print_json if json else _print_fixed)(document)
        return
    compiled = read_bundle(bundle)
    recipe = read_recipe(compiled.json("recipe.json"))
    if model is not None and not isinstance(recipe, FrameRecipe):
        raise InputError.of(
            "SL0901", "--model", "only models that take frames of events can be timed", remedy="leave it out"
        )
    opened = source.open(compiled)
    frames = [sample.frames[:, None] for sample in opened.at(range(min(samples, len(opened))))]
    contenders = _contenders(compiled, None if model is None else build.source(model))
    rates = _firing_rates(compiled, frames)
    timings = race(contenders, frames, rounds)
    document = {
        "machine": machine(),
        "versions": {name: version(name) for name in ("numba", "numpy", "onnxruntime")},
        "samples": len(frames),
        "rounds": rounds,
        "batch": 1,
        "threads": 1,
        "peer": timings[0].name,
        "firing_rates": rates,
        "contenders": [timing.to_json() for timing in timings],
    }
    if json:
        print_json(document)
    else:
        _print(document)


def _fixed(
    networks: str, rounds: int, compiles: bool, large: bool, lava: bool, output: Path | None
) -> dict[str, Any]:
    """The figures of the fixed set."""
    from spikeloom.benchmarks.networks import NETWORKS
    from spikeloom.benchmarks.suite import run_suite

    names = [name.strip() for name in networks.split(",") if name.strip()]
    if unknown := [name for name in names if name not in NETWORKS]:
        raise InputError.of(
            "SL0901", "--networks", "names no such network", wanted=", ".join(FIXED), got=unknown
        )
    if output is not None:
        require_writable(output)
    chosen = {name: NETWORKS[name] for name in names}
    document = run_suite(
        chosen, rounds, compiles, lambda text: errors.print(text, highlight=False), large=large, lava=lava
    )
    if output is not None:
        write_text(output, dumps(document, indent=2) + "\n")
    return document


def _print_fixed(document: dict[str, Any]) -> None:
    limits = document["limits"]
    console.print(
        f"{document['machine']['processor']}, one thread, batch 1: {limits['products'] / 1e9:.0f} G 8-bit "
        f"products/s, {limits['bandwidth'] / 1e9:.1f} GB/s, {limits['update'] * 1e9:.2f} ns a neuron update"
    )
    for entry in [*document["networks"], *document["layers"]]:
        peers = [name for name in PEERS if any(name == c["name"] for c in entry["contenders"])]
        heads = [f"x {peer.partition(',')[0]}" for peer in peers]
        shown = table(f"\n{entry['network']}", "contender", "time", "share of bound", *heads)
        for row in entry["contenders"]:
            ratios = (row["times_as_fast_as"].get(peer, {"median": 1.0})["median"] for peer in peers)
            cells = (si(row["seconds"]["median"], "s"), percent(row["share_of_bound"]))
            shown.add_row(row["name"], *cells, *(f"{ratio:.2f}" for ratio in ratios))
        console.print(shown)


def _contenders(bundle: Bundle, trained: ModelSource | None) -> dict[str, Contender]:
    contenders: dict[str, Contender] = {}
    if trained is not None:
        contenders[PEER] = _eager(trained)
    for name in ("event", "onnx", "reference"):
        contenders[f"{name}, int8"] = _engine(open_bundle_engine(bundle, name))
    return contenders


def _engine(engine: Engine) -> Contender:
    return lambda frames: run_from_reset(engine, frames)


def _eager(trained: ModelSource) -> Contender:
    import torch

    from spikeloom.compiler.frontends.torch.neurons import reset_states
    from spikeloom.compiler.frontends.torch.quiet import quiet_torch

    model = load_model(trained, None, None).model
    model.eval().requires_grad_(False)
    torch.set_num_threads(1)

    def run(frames: NDArray[np.uint8]) -> object:
        reset_states(model)
        with quiet_torch(), torch.no_grad():
            return model(torch.from_numpy(frames).float())

    return run


def _firing_rates(bundle: Bundle, frames: list[NDArray[np.uint8]]) -> dict[str, float]:
    """Firing rate of each layer on the samples: a silent network would make the figures meaningless.

    Raises:
        InputError: SL0505, a layer does not fire.
    """
    engine = open_bundle_engine(bundle, "onnx")
    traces = [run_from_reset(engine, sample).spikes for sample in frames]
    rates = {layer: float(np.mean([(t[layer] != 0).mean() for t in traces])) for layer in traces[0]}
    silent = [layer for layer, rate in rates.items() if rate == 0]
    if silent:
        raise InputError.of("SL0505", ", ".join(silent), "does not fire on these samples")
    return rates


def _print(document: dict[str, Any]) -> None:
    rates = document["firing_rates"].values()
    console.print(f"{document['machine']['processor']}, one thread, batch 1")
    console.print(
        f"{counted(document['samples'], 'sample')}, {document['rounds']} rounds in turn; layers fire at "
        f"{percent(min(rates))} to {percent(max(rates))}\n"
    )
    shown = table(
        "", "contender", "per sample", "times as fast as " + document["peer"], "smallest", "largest"
    )
    for entry in document["contenders"]:
        ratio = entry["ratio_to_peer"]
        cells = (f"{ratio[key]:.2f}" for key in ("median", "min", "max"))
        shown.add_row(entry["name"], si(entry["seconds"]["median"], "s"), *cells)
    console.print(shown)
