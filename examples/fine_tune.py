"""Fine-tunes a trained network of the examples on a target's integers, and compiles it.

    python -m examples.fine_tune digits out/digits -o tuned.loom --target loihi2 --bits 4
    python -m examples.fine_tune nmnist FOLDER --weights nmnist.pt -o tuned.loom --bits 2

FOLDER holds train/ and test/, with train.tsv and test.tsv, as for the training of the network. The loop is
the one that trained it: :func:`spikeloom.prepare` gives a module like any other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn

import examples.digits.model
import examples.nmnist.model
import examples.nmnist.spike_driven
import examples.nmnist.train
import spikeloom
from examples.training import Plan, Recordings, fit, load_checkpoint, load_recordings, measure, say
from spikeloom.compiler.training.network import PreparedNetwork
from spikeloom.errors import InputError
from spikeloom.runtime.events.recipe import FrameRecipe

FOLDER = Path(__file__).parent
CALIBRATION = 64
EPOCHS = 2
LEARNING_RATE = 2e-3
"""Its peak with 2 bits; half of it with each further bit, as the steps of the weights."""


@dataclass(frozen=True)
class Example:
    """A network of the examples.

    Attributes:
        build: makes it, untrained.
        shape: axes of its input.
        shift: largest random shift of a recording while it is trained, in pixels.
        weights: its checkpoint, if it comes with one.
        epochs: of a training from scratch.
    """

    folder: str
    build: Callable[[Mapping[str, Any]], nn.Module]
    shape: tuple[str | int, ...]
    shift: int
    weights: Path | None = None
    epochs: int = 0

    @property
    def recipe(self) -> FrameRecipe:
        """How a recording becomes its frames."""
        return FrameRecipe.from_toml(FOLDER / self.folder / "recipe.toml")


EXAMPLES = {
    "digits": Example(
        "digits",
        examples.digits.model.build,
        examples.digits.model.INPUT_SHAPE,
        1,
        FOLDER / "digits" / "digits.pt",
    ),
    "nmnist": Example(
        "nmnist",
        examples.nmnist.model.build,
        examples.nmnist.model.INPUT_SHAPE,
        examples.nmnist.train.SHIFT,
        epochs=examples.nmnist.train.EPOCHS,
    ),
    "spike_driven": Example(
        "nmnist",
        examples.nmnist.spike_driven.build,
        examples.nmnist.spike_driven.INPUT_SHAPE,
        examples.nmnist.train.SHIFT,
        epochs=examples.nmnist.train.MORE_EPOCHS,
    ),
}


def main(
    network: Annotated[str, typer.Argument(help="digits, nmnist or spike_driven.")],
    folder: Annotated[Path, typer.Argument(help="Holds train/, test/, train.tsv and test.tsv.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The bundle to write.")],
    weights: Annotated[Path | None, typer.Option(help="The trained network.")] = None,
    target: Annotated[str, typer.Option(help="Whose integers.")] = "onnx",
    bits: Annotated[int, typer.Option(min=2, max=8)] = 4,
    epochs: Annotated[int, typer.Option(min=1)] = EPOCHS,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Fine-tune on FOLDER/train, test on FOLDER/test before and after, compile; the result is JSON."""
    try:
        result = _run(network, folder, output, weights, spikeloom.Options(target, bits), epochs, seed)
    except spikeloom.SpikeloomError as error:
        typer.echo(error, err=True)
        raise typer.Exit(error.exit_status) from error
    typer.echo(json.dumps(result, indent=2))


def _run(
    network: str,
    folder: Path,
    output: Path,
    weights: Path | None,
    options: spikeloom.Options,
    epochs: int,
    seed: int,
) -> dict[str, Any]:
    if network not in EXAMPLES:
        raise InputError.of("SL0901", network, "is no example", wanted=" or ".join(EXAMPLES))
    example = EXAMPLES[network]
    if (checkpoint := weights or example.weights) is None:
        raise InputError.of("SL0901", "--weights", "the network comes without a checkpoint")
    seen, held_out = (load_recordings(folder, part, example.recipe) for part in ("train", "test"))
    model = load_checkpoint(checkpoint, example.build)
    prepared = prepare(example, model, seen, options, seed)
    result = {"trained": measure(model, held_out).to_json(), "rounded": measure(prepared, held_out).to_json()}
    fine_tune(example, prepared, model, seen, options.bits, epochs, seed)
    result["fine_tuned"] = measure(prepared, held_out).to_json()
    frames = _calibration(seen, seed)
    spikeloom.compile_model(prepared, prepared.input_shape, example.recipe, frames, options, output)
    return result


def prepare(
    example: Example, model: nn.Module, seen: Recordings, options: spikeloom.Options, seed: int
) -> PreparedNetwork:
    """The network on a target's integers, calibrated on some of the recordings that it has seen."""
    shape = ",".join(map(str, example.shape))
    return spikeloom.prepare(model, shape, _calibration(seen, seed), recipe=example.recipe, options=options)


def fine_tune(
    example: Example,
    prepared: PreparedNetwork,
    model: nn.Module,
    seen: Recordings,
    bits: int,
    epochs: int,
    seed: int,
) -> None:
    """A few epochs towards the answers of the trained network, on the recordings that it has seen."""
    torch.manual_seed(seed)
    plan = Plan(epochs, example.shift, seed, learning_rate=LEARNING_RATE * 2.0 ** (2 - bits))
    fit(prepared, seen, plan, say, teacher=model)


def _calibration(seen: Recordings, seed: int) -> Any:
    """Frames [T, N, ...] of recordings drawn by the seed."""
    chosen = torch.randperm(len(seen), generator=torch.Generator().manual_seed(seed))[:CALIBRATION]
    return seen.frames[chosen].transpose(0, 1).contiguous().numpy()


if __name__ == "__main__":
    typer.run(main)
