"""``spikeloom compile``: a trained model to a bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypedDict

import typer
from rich.progress import Progress

from spikeloom.cli.calibration import CalibrationOptions, calibration
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
from spikeloom.cli.lowering import lowering_tables
from spikeloom.cli.mapping import STAGE, check_map_only, mapping_document, mapping_tables, write_page
from spikeloom.cli.model import ModelOptions, load_model
from spikeloom.cli.network import (
    NetworkOptions,
    NetworkSource,
    check_options,
    is_network,
    load_network,
    network_calibration,
)
from spikeloom.cli.netx import NETX, compile_netx
from spikeloom.cli.options import ModelSpec, TargetName, spread
from spikeloom.cli.rounding import RoundingOptions, layers_table, print_chains
from spikeloom.cli.sources import Json
from spikeloom.compiler.bundle import Bundle, require_free
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.printer import to_text
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.compiler.pipeline import STAGES, Compilation, Options, compile_graph, compile_model
from spikeloom.errors import InputError
from spikeloom.runtime.events.stream import DropReport

ON_NOISE = (
    "calibrated on random inputs: ranges and firing rates are those of noise. "
    "Name inputs like those that the network will see with --calibrate."
)


@dataclass(frozen=True)
class ChipOptions:
    """The options that say how a network lies on a chip."""

    PANEL = "The chip"

    chips: Annotated[int, typer.Option(min=1, help="Chips that may be used.")] = 1
    seed: Annotated[int, typer.Option(help="Seed of the placement.")] = 0
    attention: Annotated[
        str, typer.Option(help="How a chip executes it: at once, streamed, rows or memory.", metavar="FORM")
    ] = ""


@dataclass(frozen=True)
class StageOptions:
    """The options that say how far a compilation goes, and what is told of it."""

    PANEL = "Stages"

    ledger: Annotated[int, typer.Option(min=1, help="Compare the stages on so many recordings.")] = 1
    stop_after: Annotated[str, typer.Option(help=f"Stop after a stage: {', '.join(STAGES)}.")] = STAGES[-1]
    map_only: Annotated[
        bool,
        typer.Option("--map-only", help="Stop after the mapping; -o is then a page (HTML) that draws it."),
    ] = False
    dump_after: Annotated[
        list[str] | None, typer.Option(help="Print the result of a stage; may be repeated.", metavar="STAGE")
    ] = None

    @property
    def last(self) -> str:
        """The stage after which it stops."""
        return STAGE if self.map_only else self.stop_after


@spread
def compile_(
    model: ModelSpec,
    data: CalibrationOptions,
    build: ModelOptions,
    rounding: RoundingOptions,
    network: NetworkOptions,
    chip: ChipOptions,
    stages: StageOptions,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The bundle to write.")] = None,
    target: TargetName = "loihi2",
    json: Json = False,
) -> None:
    """Compile a trained PyTorch model, or a file of NIR or ONNX, to a bundle for a chip or a simulator."""
    _check_stages("--stop-after", [stages.stop_after])
    _check_stages("--dump-after", stages.dump_after or [])
    find_target(target).profile(rounding.width)
    data = data if model.endswith(NETX) else data.or_noise()
    options = Options(
        target, rounding.width, chip.chips, chip.seed, stages.ledger, stages.last, build.steps, data.random,
        rounding.within, rounding.correct, rounding.budget, chip.attention, rounding.chains,
    )  # fmt: skip
    if stages.map_only:
        check_map_only(target, output)
    page, output = (output, None) if stages.map_only else (None, output)
    _check_output(output, stages.last)
    check_options(model, build, network)
    with progress(len(STAGES), "compiling") as bar:
        watching = _watching(bar, stages.dump_after or [], json)
        if model.endswith(NETX):
            run, left = compile_netx(Path(model), data.calibrate, options, output, **watching), _Left()
        elif is_network(model):
            source = network.source(model, build.input_shape)
            run, left = _compile_network(source, data, options, output, watching)
        else:
            run, left = _compile_model(build, model, data, options, output, watching)
    document = _summary(run) | left.to_json() | {"random_inputs": data.random and not model.endswith(NETX)}
    _tell(run, document, stages.map_only, page, json)


def _tell(run: Compilation, document: dict[str, Any], map_only: bool, page: Path | None, json: bool) -> None:
    """Say what was done, and draw the mapping if asked to."""
    if map_only:
        document["mapping"] = mapping_document(run)
    if page is not None:
        document["page"], document["bytes"] = str(page), write_page(run, page)
    if json:
        print_json(document)
    else:
        _print(run, document)


class _Watching(TypedDict):
    """Who is told of the stages."""

    progress: Callable[[str], None]
    after_stage: Callable[[str, Any], None]


def _watching(bar: Progress, dumped: Sequence[str], json: bool) -> _Watching:
    """The bar moves on; the results of some stages are printed."""

    def show(stage: str, result: Any) -> None:
        if stage in dumped:
            (errors if json else console).print(_as_text(result), markup=False, soft_wrap=True)

    task = bar.task_ids[0]
    return {"progress": lambda stage: bar.update(task, description=stage, advance=1), "after_stage": show}


@dataclass(frozen=True)
class _Left:
    """What did not go into a network: events that were dropped, tensors that have no place."""

    dropped: DropReport = field(default_factory=DropReport)
    dead_keys: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        return {"dead_keys": [*self.dead_keys], "dropped_events": self.dropped.to_json()}


def _compile_network(
    source: NetworkSource,
    data: CalibrationOptions,
    options: Options,
    output: Path | None,
    watching: _Watching,
) -> tuple[Compilation, _Left]:
    recipe = data.frames(options.steps)
    graph, steps = load_network(source, options.steps if recipe is None else recipe.steps)
    frames, dropped = network_calibration(data, recipe, graph, steps)
    options, provenance = replace(options, steps=steps), source.about | data.provenance
    return compile_graph(graph, recipe, frames, options, output, provenance, **watching), _Left(dropped)


def _compile_model(
    build: ModelOptions,
    model: str,
    data: CalibrationOptions,
    options: Options,
    output: Path | None,
    watching: _Watching,
) -> tuple[Compilation, _Left]:
    recipe, source = data.frames(build.steps), build.source(model)
    loaded = load_model(source, build.input_shape, recipe)
    options = replace(options, steps=options.steps or loaded.steps)
    frames, dropped = calibration(data, recipe, loaded.shape, options.steps, loaded.vocabulary)
    kind = type(loaded.model).__name__
    run = compile_model(
        loaded.model, loaded.shape, recipe, frames, options, output,
        name=kind if loaded.config else Path(source.spec.rpartition(":")[0] or source.spec).stem,
        provenance={"model": kind, "checkpoint": source.weights.name if source.weights else ""}
        | data.provenance,
        **watching,
    )  # fmt: skip
    return run, _Left(dropped, loaded.dead_keys)


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
    document: dict[str, Any] = {
        "ledger": run.ledger.to_json(),
        "dead_layers": [] if run.capture is None else [*run.capture.dead],
        "over_samples": [] if run.capture is None else [*run.capture.contaminated],
        "latency": 0 if run.captured is None else run.captured.latency,
        "flush": 0 if run.captured is None else run.captured.flush,
    }
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
    if run.lowering is not None:
        document["lowering"] = run.lowering.to_json()
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
        title = f"\nLayers, on {samples}: firing rates, and the decisions that differ"
        console.print(layers_table(title, run.layers))
    console.print()
    print_chains(run.chains)
    _print_left_over("tensors of the checkpoint have no place in the model", document["dead_keys"])
    _print_left_over("neuron layers reach no output", document["dead_layers"])
    _print_left_over(CONTAMINATED, document["over_samples"])
    if document["flush"]:
        console.print(running_on(document["latency"], document["flush"]), markup=False)
    _print_left_over(
        "neuron layers never fire on these inputs, and nothing was learned of them",
        document.get("silent", []),
    )
    print_dropped(document["dropped_events"])
    if document["random_inputs"]:
        console.print(ON_NOISE)
    if run.lowering is not None:
        for part in lowering_tables(run.lowering):
            console.print(part)
    if run.mapping is not None:
        cores = counted(len(run.mapping.cores), "core")
        console.print(f"mapped onto {cores} of {run.mapping.chip.name}", markup=False)
    if "mapping" in document and run.mapping is not None and run.explanation is not None:
        for part in mapping_tables(run.explanation, run.mapping.chip.mesh.multicast):
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
        return "\n".join([f"mapping onto {counted(len(result.cores), 'core')} of {result.chip.name}", *tiles])
    if isinstance(result, Bundle):
        return "\n".join([f"bundle {result.path}", *(f"  {name}" for name in sorted(result.members))])
    return "not mapped: the target has no cores"
