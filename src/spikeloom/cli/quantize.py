"""``spikeloom quantize``: what a width of weights does to each layer of a model; nothing is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from spikeloom.cli.calibration import RANDOM, Calibrate, RecipeFile, calibration
from spikeloom.cli.console import counted, print_dropped, print_json, progress
from spikeloom.cli.console import output as console
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
from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.pipeline import Compilation, Options, compile_model
from spikeloom.runtime.events.recipe import FrameRecipe

STAGES = 3


def quantize(
    model: Annotated[
        str, typer.Argument(help="A function that builds the model.", metavar="FILE.py:factory")
    ],
    calibrate: Calibrate,
    recipe: RecipeFile = None,
    weights: Weights = None,
    arg: Arguments = None,
    model_config: ModelConfig = None,
    repo: Repository = None,
    model_inputs: InputsFile = None,
    target: Annotated[str, typer.Option(help="Whose integers; see `spikeloom targets`.")] = "loihi2",
    bits: Bits = "8",
    max_flips: MaxFlips = None,
    max_bytes: MaxBytes = None,
    range_: RangeMethod = "error",
    percentile: Percentile = 99.9,
    correct: Correct = None,
    repconv: RepConv = "auto",
    input_shape: Axes = None,
    steps: Steps = 0,
    samples: Annotated[int, typer.Option(min=1, help="Calibrate on at most so many recordings.")] = 64,
    ledger: Annotated[int, typer.Option(min=1, help="Measure flips on so many recordings.")] = 8,
    strict: Strict = True,
    json: Json = False,
) -> None:
    """Round a model for a target, and show what that does to each layer; nothing is written."""
    width, budget = widths(bits, max_flips, max_bytes)
    find_target(target).profile(width)
    frame_recipe = None if recipe is None else FrameRecipe.from_toml(recipe)
    options = Options(
        target, width, ledger=ledger, stop_after="integer", steps=steps, silence=calibrate.startswith(RANDOM),
        within=ranges(range_, percentile), correct=correct, budget=budget,
        repconv=check_repconv(repconv),
    )  # fmt: skip
    source = ModelSource(model, weights, arguments_of(arg, model_config), repo, model_inputs)
    loaded = load_model(source, input_shape, frame_recipe)
    options = replace(options, steps=options.steps or loaded.steps)
    frames, dropped = calibration(calibrate, frame_recipe, loaded.shape, options.steps, samples, strict)
    with progress(STAGES, "quantizing") as bar:
        task = bar.task_ids[0]
        run = compile_model(
            loaded.model, loaded.shape, frame_recipe, frames, options, None,
            progress=lambda stage: bar.update(task, description=stage, advance=1),
        )  # fmt: skip
    document = _document(run) | {"target": target, "dropped_events": dropped.to_json()}
    if json:
        print_json(document)
    else:
        _print(run, document)


def _document(run: Compilation) -> dict[str, Any]:
    assert run.agreement is not None
    return {
        "layers": [layer.to_json() for layer in run.layers],
        "weights": [vars(grid) for grid in run.quantized.grids] if run.quantized is not None else [],
        "chains": [vars(choice) for choice in run.chains],
        "bytes": _bytes(run),
        "samples": run.agreement.samples,
        "predictions_equal": run.agreement.predictions,
        "corrections": [vars(correction) for correction in run.corrections],
        "sensitivity": [
            {"layer": one.layer, "weights": one.weights, "flips": {str(k): v for k, v in one.flips.items()}}
            for one in run.sensitivity
        ],
    }


def _bytes(run: Compilation) -> int:
    """What all weights take, each layer in its own width."""
    assert run.quantized is not None
    graph = run.quantized.graph
    bits = 0
    for grid in run.quantized.grids:
        op = graph.node(grid.layer).op
        assert isinstance(op, (Convolution, Linear))
        bits += grid.bits * op.weight.size
    return -(-bits // 8)


def _print(run: Compilation, document: dict[str, Any]) -> None:
    samples = counted(document["samples"], "recording")
    console.print(layers_table(f"Layers, on {samples}", run.layers))
    print_chains(run.chains)
    console.print(
        "\nforced: decisions that differ from equal inputs and membranes\n"
        "cumulative: spikes that differ when both networks run alone",
        markup=False,
    )
    if document["corrections"]:
        number = counted(len(document["corrections"]), "neuron layer")
        console.print(f"biases and thresholds of {number} were corrected after rounding", markup=False)
    same = document["predictions_equal"]
    console.print(
        f"weights: {document['bytes']:,} bytes; same prediction on {same} of {samples}", markup=False
    )
    print_dropped(document["dropped_events"])
