"""Trains a network of this folder on N-MNIST recordings, once, or in folds to measure its accuracy.

    python -m examples.nmnist.train FOLDER -o nmnist.pt
    python -m examples.nmnist.train FOLDER --folds 5
    python -m examples.nmnist.train FOLDER --network spike_driven -o spike_driven.pt

FOLDER holds train/ and test/, with train.tsv and test.tsv. The number of epochs is fixed; in folds, no
network has seen a recording on which it is tested.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from sklearn.model_selection import StratifiedKFold
from torch import nn

from examples.nmnist import meta_spikeformer, model, qkformer, spike_driven
from examples.training import (
    Accuracy,
    Plan,
    Recordings,
    load_recordings,
    measure,
    say,
    train,
    train_checkpoint,
)
from spikeloom.errors import InputError
from spikeloom.runtime.events.recipe import FrameRecipe

RECIPE = Path(__file__).with_name("recipe.toml")
SHIFT = 2


class Network(StrEnum):
    """A file of this folder with ``build`` and ``CONFIG``."""

    SPIKFORMER = "spikformer"
    SPIKE_DRIVEN = "spike_driven"
    META_SPIKEFORMER = "meta_spikeformer"
    QKFORMER = "qkformer"


FILES = {
    Network.SPIKFORMER: model,
    Network.SPIKE_DRIVEN: spike_driven,
    Network.META_SPIKEFORMER: meta_spikeformer,
    Network.QKFORMER: qkformer,
}
EPOCHS = 22
"""Of the Spikformer; the others have two or three blocks."""
MORE_EPOCHS = 24


def main(
    folder: Annotated[Path, typer.Argument(help="Holds train/, test/, train.tsv and test.tsv.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The checkpoint.")] = Path("nmnist.pt"),
    folds: Annotated[int | None, typer.Option(min=2, help="Cross-validate over all recordings.")] = None,
    network: Annotated[Network, typer.Option(help="Which network.")] = Network.SPIKFORMER,
    epochs: Annotated[int | None, typer.Option(min=1, help="22 for the Spikformer, 24 for others.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Train on FOLDER/train and test once on FOLDER/test, or cross-validate; the result is JSON on stdout."""
    usual = EPOCHS if network is Network.SPIKFORMER else MORE_EPOCHS
    plan = Plan(epochs=epochs or usual, shift=SHIFT, seed=seed)
    build, config = FILES[network].build, FILES[network].CONFIG
    try:
        if folds is None:
            result = train_checkpoint(folder, output, RECIPE, build, config, plan, say)
        else:
            result = cross_validate(folder, folds, plan, build)
    except InputError as error:
        typer.echo(error, err=True)
        raise typer.Exit(error.exit_status) from error
    typer.echo(json.dumps(result, indent=2))


def cross_validate(folder: Path, folds: int, plan: Plan, build: Callable[[], nn.Module]) -> dict[str, Any]:
    """Train once for each fold and test on it: accuracy per fold, their mean, and pooled, as JSON.

    The folds hold equal shares of the classes. The 95 % interval is of the pooled recordings: each is
    tested exactly once, by a network that has not seen it.
    """
    data = _all_recordings(folder, FrameRecipe.from_toml(RECIPE))
    divide = StratifiedKFold(folds, shuffle=True, random_state=plan.seed)
    accuracies = []
    for number, (seen, tested) in enumerate(divide.split(np.zeros(len(data)), data.labels.numpy()), 1):
        model = train(build, data.take(torch.from_numpy(seen)), plan, say)
        accuracies.append(measure(model, data.take(torch.from_numpy(tested))))
        say(f"fold {number} of {folds}: {accuracies[-1]}")
    pooled = Accuracy(sum(a.right for a in accuracies), sum(a.n for a in accuracies))
    mean = float(np.mean([a.share for a in accuracies]))
    say(f"all folds: {pooled}; mean over folds {mean:.2%}")
    return {"folds": [a.to_json() for a in accuracies], "mean": mean, "pooled": pooled.to_json()}


def _all_recordings(folder: Path, recipe: FrameRecipe) -> Recordings:
    parts = [load_recordings(folder, part, recipe) for part in ("train", "test")]
    return Recordings(torch.cat([part.frames for part in parts]), torch.cat([part.labels for part in parts]))


if __name__ == "__main__":
    typer.run(main)
