"""Trains the Spikformer of model.py on the digits' recordings, and tests it on those held out.

    python -m examples.digits.make_recordings out/digits
    python -m examples.digits.train out/digits -o digits.pt

The number of epochs is fixed; the held-out recordings are looked at once, after the training.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from examples.digits.model import CONFIG, build
from examples.training import Plan, say, train_checkpoint
from spikeloom.errors import InputError

RECIPE = Path(__file__).with_name("recipe.toml")
EPOCHS = 24
SHIFT = 1
SEED = 1  # of seeds 0 to 3 the one nearest to their mean accuracy; see README.md


def main(
    folder: Annotated[Path, typer.Argument(help="The recordings that make_recordings wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The checkpoint.")] = Path("digits.pt"),
    epochs: Annotated[int, typer.Option(min=1)] = EPOCHS,
    seed: Annotated[int, typer.Option(min=0)] = SEED,
) -> None:
    """Train on FOLDER/train, test once on FOLDER/test, write a checkpoint; the result is JSON on stdout."""
    try:
        plan = Plan(epochs=epochs, shift=SHIFT, seed=seed)
        result = train_checkpoint(folder, output, RECIPE, build, CONFIG, plan, say)
    except InputError as error:
        typer.echo(error, err=True)
        raise typer.Exit(error.exit_status) from error
    typer.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    typer.run(main)
