"""``spikeloom compile``: a trained model to a bundle."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from spikeloom.cli.console import comparisons, percent, print_json, progress, table
from spikeloom.cli.console import output as console
from spikeloom.cli.sources import Json, Strict
from spikeloom.compiler.pipeline import STAGES, Compilation, Options, compile_model
from spikeloom.errors import InputError, UnsupportedError
from spikeloom.factories import load_factory
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples import Samples, arrays, dataset, recordings

if TYPE_CHECKING:
    from torch import nn

    from spikeloom.compiler.frontends.torch.axes import InputShape

SHAPE_CONSTANT = "INPUT_SHAPE"


def compile_(
    model: Annotated[
        str, typer.Argument(help="A function that builds the model.", metavar="FILE.py:factory")
    ],
    recipe: Annotated[Path, typer.Option(help="How events become frames (TOML).")],
    calibrate: Annotated[
        str,
        typer.Option(
            help="Recordings to calibrate on: a file, a folder, a glob, an .npz or FILE.py:factory."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The bundle to write.")],
    weights: Annotated[Path | None, typer.Option(help="A checkpoint: .pt, .pth or .safetensors.")] = None,
    target: Annotated[str, typer.Option(help="What to compile for; see `spikeloom targets`.")] = "loihi2",
    bits: Annotated[int, typer.Option(min=2, max=8, help="Width of a weight.")] = 8,
    input_shape: Annotated[
        str | None, typer.Option(help="Axes of the model's input, such as T,B,2,34,34.", metavar="AXES")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Calibrate on at most so many recordings.")] = 64,
    ledger: Annotated[int, typer.Option(min=1, help="Compare the stages on so many recordings.")] = 1,
    chips: Annotated[int, typer.Option(min=1, help="Chips that may be used.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the placement.")] = 0,
    stop_after: Annotated[str, typer.Option(help=f"Stop after a stage: {', '.join(STAGES)}.")] = "bundle",
    dump_after: Annotated[
        list[str] | None, typer.Option(help="Print the result of a stage; may be repeated.", metavar="STAGE")
    ] = None,
    strict: Strict = True,
    json: Json = False,
) -> None:
    """Compile a trained PyTorch model to a bundle for a chip or a simulator."""
    _check_stages([stop_after, *(dump_after or [])])
    frame_recipe = FrameRecipe.from_toml(recipe)
    module, shape, config = load_model(model, weights, input_shape, frame_recipe)
    frames = _calibration(calibrate, frame_recipe, shape.sample, samples, strict)
    options = Options(target, bits, chips, seed, ledger, stop_after)

    def show(stage: str, result: Any) -> None:
        if stage in (dump_after or []):
            console.print(str(result), markup=False, soft_wrap=True)

    with progress(len(STAGES), "compiling") as bar:
        task = bar.task_ids[0]
        run = compile_model(
            module, shape, frame_recipe, frames, options, output,
            name=Path(model.rpartition(":")[0]).stem if not config else type(module).__name__,
            provenance={"model": type(module).__name__, "checkpoint": weights.name if weights else ""},
            progress=lambda stage: bar.update(task, description=stage, advance=1),
            after_stage=show,
        )  # fmt: skip
    if json:
        print_json(_summary(run, output))
    else:
        _print(run, output)


def _check_stages(names: list[str]) -> None:
    wrong = [name for name in names if name not in STAGES]
    if wrong:
        raise InputError.of(
            "SL0901", "--stop-after or --dump-after", "no such stage", wanted=STAGES, got=wrong
        )


def load_model(
    spec: str, weights: Path | None, shape: str | None, recipe: FrameRecipe | None
) -> tuple[nn.Module, InputShape, dict[str, Any]]:
    """Build a model, put its checkpoint in, and find out the shape of its input.

    Returns:
        The model, the shape (``shape``, else the constant INPUT_SHAPE beside the factory, else the
        recipe's frames after T,B), and the configuration that the checkpoint held.

    Raises:
        UnsupportedError: SL0301, PyTorch is not installed.
        InputError: SL0201 to SL0204, the factory or the checkpoint is bad; SL0307, no shape.
    """
    try:
        from torch import nn
    except ImportError as error:
        raise UnsupportedError.of(
            "SL0301", "torch", "compiling needs PyTorch", remedy="pip install 'spikeloom[torch]'"
        ) from error
    from spikeloom.compiler.frontends.torch.axes import InputShape
    from spikeloom.compiler.frontends.torch.checkpoint import load_into, read_checkpoint

    checkpoint = None if weights is None else read_checkpoint(weights)
    factory, module = load_factory(spec)
    config = dict(checkpoint.config) if checkpoint is not None else {}
    model = _build(spec, factory, config)
    if not isinstance(model, nn.Module):
        raise InputError.of(
            "SL0201", spec, "does not build a model", wanted="torch.nn.Module", got=type(model)
        )
    if checkpoint is not None:
        load_into(model, checkpoint)
    frames = ("T", "B", *recipe.shape) if recipe is not None else ()
    declared: Sequence[str | int] = getattr(module, SHAPE_CONSTANT, frames)
    if not shape and not declared:
        raise InputError.of("SL0307", spec, "does not say the shape of its input", wanted=SHAPE_CONSTANT)
    return model, InputShape.parse(shape or ",".join(map(str, declared))), config


def _build(spec: str, factory: Any, config: dict[str, Any]) -> Any:
    """Call a factory, with the checkpoint's configuration if it takes one."""
    takes_config = "config" in inspect.signature(factory).parameters
    try:
        return factory(config=config) if takes_config and config else factory()
    except Exception as error:  # whatever the user's own code raises
        raise InputError.of("SL0201", spec, f"fails: {type(error).__name__}: {error}") from error


def _calibration(
    source: str, recipe: FrameRecipe, shape: tuple[int, ...], count: int, strict: bool
) -> NDArray[np.uint8]:
    """Frames [steps, samples, ...] of at most ``count`` samples, spread evenly over the source."""
    samples = _open(source, recipe, shape, strict)
    if len(samples) == 0:
        raise InputError.of("SL0505", source, "holds no recordings")
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int))
    return np.stack([samples[int(index)].frames for index in chosen], 1)


def _open(source: str, recipe: FrameRecipe, shape: tuple[int, ...], strict: bool) -> Samples:
    sequence = (recipe.steps, *shape)
    if source.endswith(".npz"):
        return arrays(Path(source), sequence)
    if ".py:" in source:
        return dataset(source, recipe, sequence, strict)
    return recordings(source, recipe, None, strict, sequence)


def _summary(run: Compilation, path: Path) -> dict[str, Any]:
    document: dict[str, Any] = {"ledger": run.ledger.to_json()}
    if run.bundle is not None:
        document |= {"bundle": str(path), "members": sorted(run.bundle.members)}
    if run.activity is not None:
        document["rates"] = dict(run.activity.rates)
    if run.quantized is not None:
        document["weights"] = [vars(grid) for grid in run.quantized.grids]
    if run.mapping is not None:
        document["cores"] = len(run.mapping.cores)
    return document


def _print(run: Compilation, path: Path) -> None:
    console.print(comparisons("Compared on the way", run.ledger.to_json()))
    if run.agreement is not None and run.activity is not None:
        layers = table("\nNeuron layers", "layer", "rate trained", "rate integer", "spikes that differ")
        for layer in run.agreement.layers:
            share = layer.flips / layer.cells
            layers.add_row(
                layer.layer, percent(layer.rate_trained), percent(layer.rate_integer), percent(share)
            )
        console.print(layers)
    if run.mapping is not None:
        console.print(f"\nmapped onto {len(run.mapping.cores)} cores of {run.mapping.chip.name}")
    if run.bundle is not None:
        console.print(f"wrote {path} ({sum(map(len, run.bundle.members.values())):,} bytes of members)")
