"""Measures accuracy at several widths of weights, before and after fine-tuning: docs/quantization.json.

    python -m examples.quantization_table digits out/digits -o digits.json
    python -m examples.quantization_table nmnist FOLDER -o nmnist.json
    python docs/render_quantization.py digits.json nmnist.json

The digits' network is the one of the repository; a seed changes which recordings calibrate, and the order
and shifts of fine-tuning; the 360 recordings held out test it. Of N-MNIST a seed is one of five folds over
all recordings: its network is trained from scratch on the other four and tested on the fold, so that no
recording is tested twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from sklearn.model_selection import StratifiedKFold
from torch import nn

import spikeloom
from examples.fine_tune import EPOCHS, EXAMPLES, Example, fine_tune, prepare
from examples.nmnist.train import EPOCHS as NMNIST_EPOCHS
from examples.training import (
    Accuracy,
    Plan,
    Recordings,
    load_checkpoint,
    load_recordings,
    measure,
    say,
    train,
)

FOLDS = 5
TARGETS = ("onnx", "loihi2")
WIDTHS = (8, 4, 3, 2)


def main(
    network: Annotated[str, typer.Argument(help="digits or nmnist.")],
    folder: Annotated[Path, typer.Argument(help="Holds train/, test/, train.tsv and test.tsv.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The figures, as JSON.")],
    seeds: Annotated[int, typer.Option(min=1, max=FOLDS)] = 3,
    epochs: Annotated[int, typer.Option(min=1)] = EPOCHS,
) -> None:
    """Measure every target and width with each seed."""
    start, example = time.time(), EXAMPLES[network]
    rows: list[dict[str, Any]] = []
    for seed, model, seen, held_out in _networks(example, folder, seeds):
        trained = measure(model, held_out)
        say(f"seed {seed}, trained: {trained}")
        for target in TARGETS:
            for bits in WIDTHS:
                row = {"seed": seed, "target": target, "bits": bits, "trained": trained.to_json()}
                rows.append(row | _row(example, model, seen, held_out, target, bits, epochs, seed))
    minutes = (time.time() - start) / 60
    document = {"network": network, "epochs": epochs, "minutes": round(minutes, 1), "rows": rows}
    document["torch"] = torch.__version__.split("+")[0]
    output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _row(
    example: Example,
    model: nn.Module,
    seen: Recordings,
    held_out: Recordings,
    target: str,
    bits: int,
    epochs: int,
    seed: int,
) -> dict[str, Any]:
    """Accuracy of the rounded weights, with biases and thresholds corrected, and after fine-tuning."""
    plain, corrected = (
        prepare(example, model, seen, spikeloom.Options(target, bits, correct=choice), seed)
        for choice in (False, True)
    )
    rounded: dict[str, Accuracy] = {
        "rounded": measure(plain, held_out),
        "corrected": measure(corrected, held_out),
    }
    fine_tune(example, corrected, model, seen, epochs, seed)
    rounded["fine_tuned"] = measure(corrected, held_out)
    say(f"seed {seed}, {target}, {bits} bits: {', '.join(f'{k} {v.share:.2%}' for k, v in rounded.items())}")
    return {name: accuracy.to_json() for name, accuracy in rounded.items()}


def _networks(
    example: Example, folder: Path, seeds: int
) -> Iterator[tuple[int, nn.Module, Recordings, Recordings]]:
    """For each seed a trained network, what it has seen and what it has not."""
    parts = [load_recordings(folder, part, example.recipe) for part in ("train", "test")]
    if example.weights is not None:
        for seed in range(seeds):
            yield seed, load_checkpoint(example.weights, example.build), parts[0], parts[1]
        return
    frames, labels = (torch.cat([getattr(part, name) for part in parts]) for name in ("frames", "labels"))
    data = Recordings(frames, labels)
    divide = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for seed, (seen, tested) in enumerate(divide.split(np.zeros(len(data)), labels.numpy())):
        if seed < seeds:
            own = data.take(torch.from_numpy(seen))
            plan = Plan(NMNIST_EPOCHS, example.shift, seed)
            model = train(lambda: example.build({}), own, plan, lambda line: None)
            yield seed, model, own, data.take(torch.from_numpy(tested))


if __name__ == "__main__":
    typer.run(main)
