"""``spikeloom compile``: a trained model to a bundle."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from spikeloom.cli.console import (
    comparisons,
    counted,
    errors,
    percent,
    print_dropped,
    print_json,
    printable,
    progress,
    table,
)
from spikeloom.cli.console import output as console
from spikeloom.cli.sources import Json, Strict
from spikeloom.compiler.bundle import Bundle, require_free
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.printer import to_text
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.compiler.pipeline import STAGES, Compilation, Options, compile_model
from spikeloom.errors import InputError, UnsupportedError
from spikeloom.factories import load_factory
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples import Samples, arrays, dataset, recordings
from spikeloom.runtime.events.stream import DropReport

if TYPE_CHECKING:
    from torch import nn

    from spikeloom.compiler.frontends.torch.axes import InputShape

SHAPE_CONSTANT = "INPUT_SHAPE"


@dataclass(frozen=True)
class Loaded:
    """A model with its weights.

    Attributes:
        model: with the checkpoint's tensors in it.
        shape: of its input.
        config: keywords of its constructor that the checkpoint held.
        dead_keys: tensors of the checkpoint that the model has no place for.
    """

    model: nn.Module
    shape: InputShape
    config: Mapping[str, Any]
    dead_keys: Sequence[str] = ()


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
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The bundle to write.")] = None,
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
    _check_stages("--stop-after", [stop_after])
    _check_stages("--dump-after", dump_after or [])
    find_target(target).profile(bits)
    _check_output(output, stop_after)
    frame_recipe = FrameRecipe.from_toml(recipe)
    loaded = load_model(model, weights, input_shape, frame_recipe)
    frames, dropped = _calibration(calibrate, frame_recipe, loaded.shape.sample, samples, strict)
    options = Options(target, bits, chips, seed, ledger, stop_after)

    def show(stage: str, result: Any) -> None:
        if stage in (dump_after or []):
            (errors if json else console).print(_as_text(result), markup=False, soft_wrap=True)

    with progress(len(STAGES), "compiling") as bar:
        task = bar.task_ids[0]
        run = compile_model(
            loaded.model, loaded.shape, frame_recipe, frames, options, output,
            name=type(loaded.model).__name__ if loaded.config else Path(model.rpartition(":")[0]).stem,
            provenance={"model": type(loaded.model).__name__, "checkpoint": weights.name if weights else ""},
            progress=lambda stage: bar.update(task, description=stage, advance=1),
            after_stage=show,
        )  # fmt: skip
    document = _summary(run) | {"dead_keys": [*loaded.dead_keys], "dropped_events": dropped.to_json()}
    if json:
        print_json(document)
    else:
        _print(run, document)


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


def load_model(spec: str, weights: Path | None, shape: str | None, recipe: FrameRecipe | None) -> Loaded:
    """Build a model, put its checkpoint in, and find out the shape of its input.

    The shape is ``shape``, else the constant INPUT_SHAPE beside the factory, else T,B and the recipe's
    frames.

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
    model = _build(spec, factory, config, weights)
    if not isinstance(model, nn.Module):
        raise InputError.of(
            "SL0201", spec, "does not build a model", wanted="torch.nn.Module", got=type(model).__name__
        )
    dead = () if checkpoint is None else load_into(model, checkpoint).dead
    frames = ("T", "B", *recipe.shape) if recipe is not None else ()
    declared: Sequence[str | int] = getattr(module, SHAPE_CONSTANT, frames)
    if not shape and not declared:
        raise InputError.of("SL0307", spec, "does not say the shape of its input", wanted=SHAPE_CONSTANT)
    return Loaded(model, InputShape.parse(shape or ",".join(map(str, declared))), config, dead)


def _build(spec: str, factory: Any, config: dict[str, Any], weights: Path | None) -> Any:
    """Call a factory, with the checkpoint's configuration if it takes one."""
    given = {"config": config} if config and _takes_config(factory) else {}
    try:
        return factory(**given)
    except Exception as error:  # whatever the user's own code raises
        raise InputError.of(
            "SL0201",
            spec,
            f"fails{f' with the config of {weights}' if given else ''}: {type(error).__name__}: {error}",
            remedy="check that the checkpoint is one of this model" if given else "",
        ) from error


def _takes_config(factory: Any) -> bool:
    try:
        return "config" in inspect.signature(factory).parameters
    except ValueError:  # some built-in types tell no signature
        return False


def _calibration(
    source: str, recipe: FrameRecipe, shape: tuple[int, ...], count: int, strict: bool
) -> tuple[NDArray[np.uint8], DropReport]:
    """Frames [steps, samples, ...] of at most ``count`` samples, spread evenly over the source.

    Beside them what was dropped while they were made.
    """
    samples = _open(source, recipe, shape, strict)
    if len(samples) == 0:
        raise InputError.of("SL0505", source, "holds no recordings")
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int))
    taken = list(samples.at(chosen.tolist()))
    dropped = sum((sample.report for sample in taken), DropReport())
    return np.stack([sample.frames for sample in taken], 1), dropped


def _open(source: str, recipe: FrameRecipe, shape: tuple[int, ...], strict: bool) -> Samples:
    sequence = (recipe.steps, *shape)
    if source.endswith(".npz"):
        return arrays(Path(source), sequence)
    if ".py:" in source:
        return dataset(source, recipe, sequence, strict)
    return recordings(source, recipe, None, strict, sequence)


def _summary(run: Compilation) -> dict[str, Any]:
    document: dict[str, Any] = {"ledger": run.ledger.to_json()}
    if run.capture is not None:
        document["dead_layers"] = [*run.capture.dead]
        document["over_samples"] = [*run.capture.over_samples]
    if run.bundle is not None:
        path, members = run.bundle.path, sorted(run.bundle.members)
        document |= {"bundle": str(path), "bytes": _size(path), "members": members}
    if run.activity is not None:
        document["rates"] = dict(run.activity.rates)
    if run.quantized is not None:
        document["weights"] = [vars(grid) for grid in run.quantized.grids]
    if run.mapping is not None:
        document["cores"] = len(run.mapping.cores)
    return document


def _size(bundle: Path) -> int:
    files = bundle.rglob("*") if bundle.is_dir() else [bundle]
    return sum(file.stat().st_size for file in files if file.is_file())


def _print(run: Compilation, document: dict[str, Any]) -> None:
    console.print(comparisons("Compared on the way", document["ledger"]))
    if run.agreement is not None:
        samples = counted(document["ledger"][-1]["samples"], "recording")
        title = f"\nNeuron layers, on {samples}: firing rates, and the spikes that differ"
        layers = table(title, "layer", "trained", "integer", "differ")
        for layer in run.agreement.layers:
            shares = (layer.rate_trained, layer.rate_integer, layer.flips / layer.cells)
            layers.add_row(layer.layer, *map(percent, shares))
        console.print(layers)
    console.print()
    _print_left_over("tensors of the checkpoint have no place in the model", document["dead_keys"])
    _print_left_over("neuron layers reach no output", document["dead_layers"])
    _print_left_over(
        "the model lets neuron layers run on from one sample of a batch to the next; compiled as for "
        "single samples",
        document["over_samples"],
    )
    print_dropped(document["dropped_events"])
    if run.mapping is not None:
        cores = counted(len(run.mapping.cores), "core")
        console.print(f"mapped onto {cores} of {run.mapping.chip.name}", markup=False)
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
