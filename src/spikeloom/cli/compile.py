"""``spikeloom compile``: a trained model to a bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypedDict

import typer

from spikeloom.cli.calibration import RANDOM, Calibrate, RecipeFile, calibration
from spikeloom.cli.console import (
    CONTAMINATED,
    comparisons,
    counted,
    errors,
    print_dropped,
    print_json,
    printable,
    progress,
    running_on,
)
from spikeloom.cli.console import output as console
from spikeloom.cli.mapping import STAGE, check_map_only, mapping_document, mapping_tables, write_page
from spikeloom.cli.model import (
    Arguments,
    Axes,
    InputsFile,
    ModelConfig,
    ModelSource,
    Repository,
    Steps,
    Weights,
    arguments_of,
    load_model,
)
from spikeloom.cli.network import (
    NetworkSource,
    Preset,
    States,
    TimeStep,
    check_options,
    is_network,
    load_network,
    network_calibration,
)
from spikeloom.cli.netx import NETX, compile_netx
from spikeloom.cli.rounding import (
    Bits,
    Correct,
    MaxBytes,
    MaxFlips,
    Percentile,
    RangeMethod,
    RepConv,
    check_repconv,
    layers_table,
    print_chains,
    ranges,
    widths,
)
from spikeloom.cli.sources import Json, Strict
from spikeloom.compiler.bundle import Bundle, require_free
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.printer import to_text
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.compiler.pipeline import STAGES, Compilation, Options, compile_graph, compile_model
from spikeloom.errors import InputError
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.stream import DropReport


def compile_(
    model: Annotated[
        str,
        typer.Argument(
            help="A function that builds the model, or a file of its nodes.",
            metavar="FILE.py:factory|FILE.capture|FILE.nir|FILE.onnx|FILE.net",
        ),
    ],
    calibrate: Calibrate = "",
    recipe: RecipeFile = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The bundle to write.")] = None,
    weights: Weights = None,
    arg: Arguments = None,
    model_config: ModelConfig = None,
    repo: Repository = None,
    model_inputs: InputsFile = None,
    target: Annotated[str, typer.Option(help="What to compile for; see `spikeloom targets`.")] = "loihi2",
    bits: Bits = "8",
    max_flips: MaxFlips = None,
    max_bytes: MaxBytes = None,
    range_: RangeMethod = "error",
    percentile: Percentile = 99.9,
    correct: Correct = None,
    repconv: RepConv = "auto",
    input_shape: Axes = None,
    steps: Steps = 0,
    execution: Preset = None,
    dt: TimeStep = None,
    state: States = None,
    samples: Annotated[int, typer.Option(min=1, help="Calibrate on at most so many recordings.")] = 64,
    ledger: Annotated[int, typer.Option(min=1, help="Compare the stages on so many recordings.")] = 1,
    chips: Annotated[int, typer.Option(min=1, help="Chips that may be used.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the placement.")] = 0,
    attention: Annotated[
        str, typer.Option(help="How a chip executes it: at once, streamed, rows or memory.", metavar="FORM")
    ] = "",
    stop_after: Annotated[str, typer.Option(help=f"Stop after a stage: {', '.join(STAGES)}.")] = "bundle",
    map_only: Annotated[
        bool,
        typer.Option("--map-only", help="Stop after the mapping; -o is then a page (HTML) that draws it."),
    ] = False,
    dump_after: Annotated[
        list[str] | None, typer.Option(help="Print the result of a stage; may be repeated.", metavar="STAGE")
    ] = None,
    strict: Strict = True,
    json: Json = False,
) -> None:
    """Compile a trained PyTorch model, or a file of NIR or ONNX, to a bundle for a chip or a simulator."""
    _check_stages("--stop-after", [stop_after])
    _check_stages("--dump-after", dump_after or [])
    width, budget = widths(bits, max_flips, max_bytes)
    within = ranges(range_, percentile)
    find_target(target).profile(width)
    drawing, stop_after = (output, STAGE) if map_only else (None, stop_after)
    if map_only:
        check_map_only(target, output)
        output = None
    _check_output(output, stop_after)
    if model.endswith(NETX):
        options = Options(target, width, chips, seed, ledger, stop_after, steps)
        run = _compile_file(Path(model), calibrate, options, output, dump_after or [], json)
        nothing: dict[str, Any] = {"dead_keys": [], "dead_layers": [], "over_samples": [], "flush": 0}
        _tell(run, nothing | {"dropped_events": DropReport().to_json()}, map_only, drawing, json)
        return
    if not calibrate:
        raise InputError.of(
            "SL0901", "--calibrate", "nothing says what to calibrate on", remedy="--calibrate FOLDER"
        )
    frame_recipe = None if recipe is None else FrameRecipe.from_toml(recipe)
    silence = calibrate.startswith(RANDOM)
    options = Options(
        target, width, chips, seed, ledger, stop_after, steps, silence, within, correct, budget, attention,
        check_repconv(repconv),
    )  # fmt: skip
    given: dict[str, object] = {
        "--weights": weights,
        "--arg": arg,
        "--model-config": model_config,
        "--repo": repo,
        "--model-inputs": model_inputs,
        "--input-shape": input_shape,
        "--preset": execution,
        "--dt": dt,
        "--state": state,
    }
    check_options(model, given)
    network = NetworkSource(Path(model), execution, dt, input_shape, state or ())
    data = _Calibration(calibrate, frame_recipe, samples, strict)

    def show(stage: str, result: Any) -> None:
        if stage in (dump_after or []):
            (errors if json else console).print(_as_text(result), markup=False, soft_wrap=True)

    with progress(len(STAGES), "compiling") as bar:
        task = bar.task_ids[0]
        watching: _Watching = {
            "progress": lambda stage: bar.update(task, description=stage, advance=1),
            "after_stage": show,
        }
        if is_network(model):
            found = _compile_network(network, data, options, output, watching)
        else:
            source = ModelSource(model, weights, arguments_of(arg, model_config), repo, model_inputs)
            found = _compile_model(source, input_shape, data, options, output, watching)
    run, dropped, dead_keys = found
    left = {"dead_keys": [*dead_keys], "dropped_events": dropped.to_json()}
    _tell(run, left, map_only, drawing, json)


def _tell(run: Compilation, left: dict[str, Any], map_only: bool, drawing: Path | None, json: bool) -> None:
    """Say what was done, and draw the mapping if asked to."""
    document = _summary(run) | left
    if map_only:
        document["mapping"] = mapping_document(run)
    if drawing is not None:
        document["page"], document["bytes"] = str(drawing), write_page(run, drawing)
    if json:
        print_json(document)
    else:
        _print(run, document)


class _Watching(TypedDict):
    """Who is told of the stages."""

    progress: Callable[[str], None]
    after_stage: Callable[[str, Any], None]


@dataclass(frozen=True)
class _Calibration:
    """What a network is calibrated on: a source, how events become frames, and how many samples."""

    source: str
    recipe: FrameRecipe | None
    samples: int
    strict: bool


_Compiled = tuple[Compilation, DropReport, Sequence[str]]
"""A compilation, the events that were dropped, and the tensors that have no place."""


def _compile_network(
    source: NetworkSource,
    data: _Calibration,
    options: Options,
    output: Path | None,
    watching: _Watching,
) -> _Compiled:
    graph, steps = load_network(source, options.steps if data.recipe is None else data.recipe.steps)
    frames, dropped = network_calibration(data.source, data.recipe, graph, steps, data.samples, data.strict)
    options = replace(options, steps=steps)
    run = compile_graph(graph, data.recipe, frames, options, output, source.about, **watching)
    return run, dropped, ()


def _compile_model(
    source: ModelSource,
    shape: str | None,
    data: _Calibration,
    options: Options,
    output: Path | None,
    watching: _Watching,
) -> _Compiled:
    loaded = load_model(source, shape, data.recipe)
    options = replace(options, steps=options.steps or loaded.steps)
    frames, dropped = calibration(
        data.source, data.recipe, loaded.shape, options.steps, data.samples, data.strict
    )
    kind = type(loaded.model).__name__
    run = compile_model(
        loaded.model, loaded.shape, data.recipe, frames, options, output,
        name=kind if loaded.config else Path(source.spec.rpartition(":")[0] or source.spec).stem,
        provenance={"model": kind, "checkpoint": source.weights.name if source.weights else ""},
        **watching,
    )  # fmt: skip
    return run, dropped, loaded.dead_keys


def _compile_file(
    path: Path, calibrate: str, options: Options, output: Path | None, dumped: Sequence[str], json: bool
) -> Compilation:
    """A network that is integers already."""

    def show(stage: str, result: Any) -> None:
        if stage in dumped:
            (errors if json else console).print(_as_text(result), markup=False, soft_wrap=True)

    with progress(3, "compiling") as bar:
        task = bar.task_ids[0]

        def advance(stage: str) -> None:
            bar.update(task, description=stage, advance=1)

        return compile_netx(path, calibrate, options, output, advance, show)


def _check_output(output: Path | None, stop_after: str) -> None:
    if output is not None:
        require_free(output)
    elif stop_after == STAGES[-1]:
        raise InputError.of("SL0901", "--output", "a bundle needs a name", remedy="name it with -o X.loom")


def _check_stages(option: str, names: list[str]) -> None:
    if wrong := [name for name in names if name not in STAGES]:
        raise InputError.of(
            "SL0901", option, "there is no such stage", wanted=" or ".join(STAGES), got=", ".join(wrong)
        )


def _summary(run: Compilation) -> dict[str, Any]:
    document: dict[str, Any] = {"ledger": run.ledger.to_json()}
    if run.capture is not None:
        document["dead_layers"] = [*run.capture.dead]
        document["over_samples"] = [*run.capture.contaminated]
    if run.captured is not None:
        document["latency"] = run.captured.latency
        document["flush"] = run.captured.flush
    if run.bundle is not None:
        path, members = run.bundle.path, sorted(run.bundle.members)
        document |= {"bundle": str(path), "bytes": _size(path), "members": members}
    if run.activity is not None:
        document["rates"] = dict(run.activity.rates)
        document["silent"] = [*run.activity.silent]
    if run.quantized is not None:
        document["chains"] = [vars(choice) for choice in run.chains]
        document["weights"] = [vars(grid) for grid in run.quantized.grids]
        document["layers"] = [layer.to_json() for layer in run.layers]
    if run.mapping is not None:
        document["cores"] = len(run.mapping.cores)
    return document


def _size(bundle: Path) -> int:
    files = bundle.rglob("*") if bundle.is_dir() else [bundle]
    return sum(file.stat().st_size for file in files if file.is_file())


def _print(run: Compilation, document: dict[str, Any]) -> None:
    console.print(comparisons("Compared on the way", document["ledger"]))
    if run.agreement is not None:
        samples = counted(run.agreement.samples, "recording")
        title = f"\nLayers, on {samples}: firing rates, and the spikes that differ"
        console.print(layers_table(title, run.layers))
    console.print()
    print_chains(run.chains)
    _print_left_over("tensors of the checkpoint have no place in the model", document["dead_keys"])
    _print_left_over("neuron layers reach no output", document.get("dead_layers", []))
    _print_left_over(
        CONTAMINATED,
        document.get("over_samples", []),
    )
    if document.get("flush"):
        console.print(running_on(document["latency"], document["flush"]), markup=False)
    _print_left_over(
        "neuron layers never fire on these inputs, and nothing was learned of them",
        document.get("silent", []),
    )
    print_dropped(document["dropped_events"])
    if run.mapping is not None:
        cores = counted(len(run.mapping.cores), "core")
        console.print(f"mapped onto {cores} of {run.mapping.chip.name}", markup=False)
    if "mapping" in document and run.explanation is not None:
        for part in mapping_tables(run.explanation):
            console.print(part)
    if "page" in document:
        console.print(f"wrote {document['page']} ({document['bytes']:,} bytes)", markup=False, soft_wrap=True)
    if run.bundle is not None:
        console.print(
            f"wrote {document['bundle']} ({document['bytes']:,} bytes)", markup=False, soft_wrap=True
        )


def _print_left_over(what: str, names: Sequence[str]) -> None:
    if names:
        console.print(printable(f"{what}: {', '.join(names)}"), markup=False)


def _as_text(result: Any) -> str:
    """The result of a stage for a person: a graph node by node, a mapping tile by tile."""
    if isinstance(result, Graph):
        return to_text(result)
    if isinstance(result, ChipMapping):
        tiles = (f"  core {tile.core:4}  {tile.population} {list(tile.box.ranges)}" for tile in result.tiles)
        return "\n".join([f"mapping onto {len(result.cores)} cores of {result.chip.name}", *tiles])
    if isinstance(result, Bundle):
        return "\n".join([f"bundle {result.path}", *(f"  {name}" for name in sorted(result.members))])
    return "not mapped: the target has no cores"
