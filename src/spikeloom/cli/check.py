"""``spikeloom check``: everything that stands between a model and a target, in one report."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.cli.calibration import RANDOM, Calibrate, RecipeFile, calibration
from spikeloom.cli.console import CONTAMINATED, counted, print_json, printable, running_on, table
from spikeloom.cli.console import output as console
from spikeloom.cli.model import (
    Arguments,
    Axes,
    InputsFile,
    Loaded,
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
    parameters,
)
from spikeloom.cli.netx import NETX, compile_netx
from spikeloom.cli.sources import Json
from spikeloom.compiler.graph.graph import Graph, Stage
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.pipeline import Compilation, Options, compile_graph, compile_model
from spikeloom.errors import InputError, InternalError, Problem, SpikeloomError, UnsupportedError
from spikeloom.runtime.estimate.spike_driven import dense_share
from spikeloom.runtime.events.recipe import FrameRecipe

DEFAULT_CALIBRATION = "random:2"


@dataclass
class Findings:
    """What a check has found.

    Attributes:
        obstacles: what stands in the way.
        loaded: the model, if it could be built.
        graph: as captured, if it could be.
        run: how far the compilation of a model came.
    """

    obstacles: list[Problem] = field(default_factory=list)
    loaded: Loaded | None = None
    graph: Graph | None = None
    run: Compilation = field(default_factory=Compilation)


def check(
    model: Annotated[
        str,
        typer.Argument(
            help="A function that builds the model, or a file of its nodes.",
            metavar="FILE.py:factory|FILE.capture|FILE.nir|FILE.onnx|FILE.net",
        ),
    ],
    target: Annotated[str, typer.Option(help="What to compile for; see `spikeloom targets`.")] = "loihi2",
    calibrate: Calibrate = DEFAULT_CALIBRATION,
    recipe: RecipeFile = None,
    weights: Weights = None,
    arg: Arguments = None,
    model_config: ModelConfig = None,
    repo: Repository = None,
    model_inputs: InputsFile = None,
    bits: Annotated[int, typer.Option(min=2, max=8, help="Width of a weight.")] = 8,
    input_shape: Axes = None,
    steps: Steps = 0,
    execution: Preset = None,
    dt: TimeStep = None,
    state: States = None,
    samples: Annotated[int, typer.Option(min=1, help="Calibrate on at most so many samples.")] = 8,
    json: Json = False,
) -> int:
    """List everything that stands between a model and a target; nothing is written."""
    find_target(target).profile(bits)
    frame_recipe = None if recipe is None else FrameRecipe.from_toml(recipe)
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
    silence = calibrate.startswith(RANDOM)
    options = Options(target, bits, stop_after="integer", steps=steps, silence=silence)
    findings = Findings()
    if model.endswith(NETX):
        _check_integers(findings, Path(model), calibrate, options)
    elif is_network(model):
        steps = _read(findings, network, steps if frame_recipe is None else frame_recipe.steps)
        _compile(findings, calibrate, frame_recipe, samples, replace(options, steps=steps))
    else:
        source = ModelSource(model, weights, arguments_of(arg, model_config), repo, model_inputs)
        _load(findings, source, input_shape, frame_recipe)
        _compile(findings, calibrate, frame_recipe, samples, options)
    document = _document(findings)
    if json:
        print_json(document)
    else:
        _print(document, model, target)
    return UnsupportedError.exit_status if findings.obstacles else 0


def _read(findings: Findings, source: NetworkSource, steps: int) -> int:
    """Read a file of nodes, and list those without a counterpart; gives its time steps."""
    try:
        findings.graph, steps = load_network(source, steps)
    except UnsupportedError as error:
        findings.obstacles += error.problems
    return steps


def _load(findings: Findings, source: ModelSource, shape: str | None, recipe: FrameRecipe | None) -> None:
    """Build the model; without its checkpoint, if only that does not fit."""
    try:
        findings.loaded = load_model(source, shape, recipe)
    except (InputError, UnsupportedError) as error:
        findings.obstacles += error.problems
        codes = {problem.code for problem in error.problems}
        if source.weights is not None and codes <= {"SL0202", "SL0203", "SL0204"}:
            findings.loaded = load_model(replace(source, weights=None), shape, recipe)


def _compile(
    findings: Findings,
    source: str,
    recipe: FrameRecipe | None,
    samples: int,
    options: Options,
) -> None:
    """Compile as far as the integer graph what could be loaded."""
    loaded, graph = findings.loaded, findings.graph
    try:
        if loaded is not None:
            options = replace(options, steps=options.steps or loaded.steps)
            frames, _ = calibration(source, recipe, loaded.shape, options.steps, samples, strict=True)
            compile_model(
                loaded.model,
                loaded.shape,
                recipe,
                frames,
                options,
                None,
                after_stage=lambda stage, result: _keep(findings, stage, result),
                run=findings.run,
            )
        elif graph is not None:
            frames, _ = network_calibration(source, recipe, graph, options.steps, samples, strict=True)
            findings.run = compile_graph(graph, recipe, frames, options, None)
    except InternalError:
        raise
    except SpikeloomError as error:
        findings.obstacles += error.problems


def _check_integers(findings: Findings, path: Path, calibrate: str, options: Options) -> None:
    """What the target says to a network that is integers already."""

    def keep(_: str, result: Any) -> None:
        findings.graph = result

    try:
        compile_netx(path, calibrate, options, None, lambda _: None, keep)
    except UnsupportedError as error:
        findings.obstacles += error.problems


def _keep(findings: Findings, stage: str, result: Any) -> None:
    if stage == "capture":
        findings.graph = result


def _document(findings: Findings) -> dict[str, Any]:
    graph = findings.graph
    return {
        "obstacles": [
            {
                "code": problem.code,
                "where": problem.where,
                "what": _what(problem),
                "remedy": problem.remedy,
            }
            for problem in findings.obstacles
        ],
        "parameters": _parameters(findings),
        "neurons": None if graph is None else sum(graph.types[node.name].size for node in graph.neurons()),
        "layers": None if graph is None else sum(1 for _ in graph.neurons()),
        "nodes": None if graph is None else len(graph.nodes),
        "latency": None if graph is None else graph.latency,
        "flush": None if graph is None else graph.flush,
        "not_spike_driven": _share(findings),
        "over_samples": [] if findings.run.capture is None else [*findings.run.capture.contaminated],
    }


def _parameters(findings: Findings) -> int | None:
    if findings.loaded is not None:
        return sum(p.numel() for p in findings.loaded.model.parameters())
    return None if findings.graph is None else parameters(findings.graph)


def _share(findings: Findings) -> float | None:
    """Of the dense operations, the share that no spike drives; None if there is no integer graph."""
    run, graph = findings.run, findings.graph
    if run.quantized is not None:
        graph = run.quantized.graph
    return dense_share(graph) if graph is not None and graph.stage is Stage.INTEGER else None


def _what(problem: Problem) -> str:
    parts = [problem.what]
    parts += [f"wanted {problem.wanted}"] * bool(problem.wanted) + [f"got {problem.got}"] * bool(problem.got)
    return ", ".join(parts)


def _print(document: dict[str, Any], model: str, target: str) -> None:
    if document["obstacles"]:
        title = f"{counted(len(document['obstacles']), 'obstacle')} between {model} and {target}"
        obstacles = table(printable(title), "code", "where", "what", "remedy")
        for obstacle in document["obstacles"]:
            obstacles.add_row(*(printable(str(value)) for value in obstacle.values()))
        console.print(obstacles)
    else:
        console.print(printable(f"nothing stands between {model} and {target}"), markup=False)
    known = [
        f"{value:,} {name}"
        for name in ("parameters", "neurons", "layers", "nodes")
        if (value := document[name]) is not None
    ]
    console.print(", ".join(known), markup=False)
    if document["not_spike_driven"] is not None:
        share = f"{document['not_spike_driven']:.1%} of the dense operations are not spike-driven"
        console.print(f"{share} (host, and weights or products of real values)", markup=False)
    if document["flush"]:
        console.print(running_on(document["latency"], document["flush"]), markup=False)
    if document["over_samples"]:
        console.print(f"{CONTAMINATED}:", markup=False)
        for layer in document["over_samples"]:
            console.print(f"  {printable(layer)}", markup=False)
