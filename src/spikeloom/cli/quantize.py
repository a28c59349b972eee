"""``spikeloom quantize``: what a width of weights does to each layer of a model; nothing is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from spikeloom.cli.calibration import CalibrationOptions, calibration
from spikeloom.cli.console import counted, print_dropped, print_json, progress
from spikeloom.cli.console import output as console
from spikeloom.cli.model import ModelOptions, load_model
from spikeloom.cli.options import TargetName, spread
from spikeloom.cli.rounding import RoundingOptions, layers_table, print_chains
from spikeloom.cli.sources import Json
from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.pipeline import Compilation, Options, compile_model

STAGES = 3


@spread
def quantize(
    model: Annotated[
        str,
        typer.Argument(
            help="FILE.py:factory, a function that builds the model; or a .capture file.", metavar="MODEL"
        ),
    ],
    data: CalibrationOptions,
    build: ModelOptions,
    rounding: RoundingOptions,
    target: TargetName = "loihi2",
    ledger: Annotated[int, typer.Option(min=1, help="Measure flips on so many recordings.")] = 8,
    json: Json = False,
) -> None:
    """Round a model for a target, and show what that does to each layer; nothing is written."""
    find_target(target).profile(rounding.width)
    options = Options(
        target, rounding.width, ledger=ledger, stop_after="integer", steps=build.steps, silence=data.random,
        within=rounding.within, correct=rounding.correct, budget=rounding.budget, repconv=rounding.chains,
    )  # fmt: skip
    data.require()
    recipe = data.frames(build.steps)
    loaded = load_model(build.source(model), build.input_shape, recipe)
    options = replace(options, steps=options.steps or loaded.steps)
    frames, dropped = calibration(data, recipe, loaded.shape, options.steps, loaded.vocabulary)
    with progress(STAGES, "quantizing") as bar:
        task = bar.task_ids[0]
        run = compile_model(
            loaded.model, loaded.shape, recipe, frames, options, None,
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
        "cumulative: decisions that differ when both networks run alone",
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
