"""``spikeloom check``: everything that stands between a model and a target, in one report."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.cli.calibration import AtMost, Calibrate, CalibrationOptions, calibration
from spikeloom.cli.console import CONTAMINATED, counted, print_json, printable, running_on, table
from spikeloom.cli.console import output as console
from spikeloom.cli.model import Loaded, ModelOptions, ModelSource, load_model
from spikeloom.cli.network import (
    NetworkOptions,
    NetworkSource,
    check_options,
    is_network,
    load_network,
    network_calibration,
    parameters,
)
from spikeloom.cli.netx import NETX, compile_netx
from spikeloom.cli.options import ModelSpec, TargetName, spread
from spikeloom.cli.rounding import WIDEST
from spikeloom.cli.sources import Json
from spikeloom.compiler.graph.graph import Graph, Stage
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.pipeline import Compilation, Options, compile_graph, compile_model
from spikeloom.compiler.quantize.sensitivity import NARROWEST
from spikeloom.errors import InputError, InternalError, Problem, SpikeloomError, UnsupportedError
from spikeloom.runtime.estimate.spike_driven import dense_share
from spikeloom.runtime.events.recipe import FrameRecipe


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


@dataclass(frozen=True)
class FewSamples(CalibrationOptions):
    """What a check is made on: little is enough to find what stands in the way."""

    calibrate: Calibrate = "random:2"
    samples: AtMost = 8


@spread
def check(
    model: ModelSpec,
    data: FewSamples,
    build: ModelOptions,
    network: NetworkOptions,
    target: TargetName = "loihi2",
    bits: Annotated[int, typer.Option(min=NARROWEST, max=WIDEST, help="Width of a weight.")] = WIDEST,
    json: Json = False,
) -> int:
    """List everything that stands between a model and a target; nothing is written."""
    find_target(target).profile(bits)
    recipe = data.frames(build.steps)
    check_options(model, build, network)
    options = Options(target, bits, stop_after="integer", steps=build.steps, silence=data.random)
    findings = Findings()
    if model.endswith(NETX):
        _check_integers(findings, Path(model), data.calibrate, options)
    elif is_network(model):
        source = network.source(model, build.input_shape)
        steps = _read(findings, source, build.steps if recipe is None else recipe.steps)
        _compile(findings, data, recipe, replace(options, steps=steps))
    else:
        _load(findings, build.source(model), build.input_shape, recipe)
        _compile(findings, data, recipe, options)
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
    findings: Findings, data: CalibrationOptions, recipe: FrameRecipe | None, options: Options
) -> None:
    """Compile as far as the integer graph what could be loaded."""
    loaded, graph = findings.loaded, findings.graph
    try:
        if loaded is not None:
            options = replace(options, steps=options.steps or loaded.steps)
            frames, _ = calibration(data, recipe, loaded.shape, options.steps, loaded.vocabulary)
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
            frames, _ = network_calibration(data, recipe, graph, options.steps)
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
        obstacles = table(printable(title), "code", "where", "what", "remedy", text=4)
        for obstacle in document["obstacles"]:
            obstacles.add_row(*(printable(str(value)) for value in obstacle.values()))
        console.print(obstacles)
    else:
        console.print(printable(f"nothing stands between {model} and {target}"), markup=False)
    known = [
        counted(value, noun)
        for noun in ("parameter", "neuron", "layer", "node")
        if (value := document[f"{noun}s"]) is not None
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
