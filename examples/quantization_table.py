"""Measures accuracy at several widths of weights, before and after fine-tuning: docs/quantization.json.

    python -m examples.quantization_table digits out/digits -o digits.json
    python -m examples.quantization_table nmnist FOLDER -o nmnist.json
    python -m examples.quantization_table spike_driven FOLDER -o spike_driven.json
    python docs/render_quantization.py digits.json nmnist.json spike_driven.json

A run that was interrupted goes on with the rows that its output does not hold.

The digits' network is the one of the repository; a seed changes which recordings calibrate, and the order
and shifts of fine-tuning; the 360 recordings held out test it. Of N-MNIST a seed is one of five folds over
all recordings: its network is trained from scratch on the other four and tested on the fold, so that no
recording is tested twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

import spikeloom
from examples.fine_tune import EPOCHS, EXAMPLES, Example, fine_tune, prepare
from examples.training import (
    Accuracy,
    Plan,
    Recordings,
    answers,
    load_checkpoint,
    load_recordings,
    say,
    train,
)
from spikeloom.atomic import write_text
from spikeloom.errors import UnsupportedError

FOLDS = 5
TARGETS = ("onnx", "loihi2", "loihi1")
WIDTHS = (8, 4, 3, 2)


def main(
    network: Annotated[str, typer.Argument(help=", ".join(EXAMPLES) + ".")],
    folder: Annotated[Path, typer.Argument(help="Holds train/, test/, train.tsv and test.tsv.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The figures, as JSON.")],
    seeds: Annotated[int, typer.Option(min=1, max=FOLDS)] = 3,
    epochs: Annotated[int, typer.Option(min=1)] = EPOCHS,
    targets: Annotated[str, typer.Option(help="Which, with commas between.")] = ",".join(TARGETS),
) -> None:
    """Measure every target and width with each seed."""
    example, table = EXAMPLES[network], _Table.read(output, network, epochs)
    wanted = [(target, bits) for target in targets.split(",") for bits in WIDTHS]
    for seed, model, seen, held_out in _networks(example, folder, seeds):
        trained = answers(model, held_out.frames)
        say(f"seed {seed}, trained: {_measured(trained, trained, held_out)['accuracy']:.2%}")
        for target, bits in wanted:
            if table.holds(seed, target, bits):
                continue
            try:
                row = _row(example, model, seen, held_out, trained, target, bits, epochs, seed)
            except UnsupportedError as error:
                row = {"refused": [str(problem) for problem in error.problems]}
                say(f"seed {seed}, {target}: {error}")
            own = {"seed": seed, "target": target, "bits": bits}
            table.add({**own, "trained": _measured(trained, trained, held_out), **row})


@dataclass
class _Table:
    """The figures, written after every row.

    Attributes:
        path: of the output.
        document: what it holds.
        spent: minutes of the runs before this one.
    """

    path: Path
    document: dict[str, Any]
    spent: float
    start: float

    @classmethod
    def read(cls, path: Path, network: str, epochs: int) -> _Table:
        """The rows of a run that was interrupted, or none."""
        head = {"network": network, "epochs": epochs, "torch": torch.__version__.split("+")[0]}
        document: dict[str, Any] = {**head, "minutes": 0, "rows": []}
        if path.exists():
            document = json.loads(path.read_text("utf-8"))
        if differing := [key for key, value in head.items() if document[key] != value]:
            raise typer.BadParameter(f"{path} holds figures with another {', '.join(differing)}")
        return cls(path, document, document["minutes"], time.time())

    def holds(self, seed: int, target: str, bits: int) -> bool:
        """Whether a row need not be measured; what one seed is refused for, each would be."""
        own = [row for row in self.document["rows"] if (row["target"], row["bits"]) == (target, bits)]
        return any("refused" in row or row["seed"] == seed for row in own)

    def add(self, row: dict[str, Any]) -> None:
        """Take in a row, and write all."""
        self.document["rows"].append(row)
        self.document["minutes"] = round(self.spent + (time.time() - self.start) / 60, 1)
        write_text(self.path, json.dumps(self.document, indent=1) + "\n")


def _row(
    example: Example,
    model: nn.Module,
    seen: Recordings,
    held_out: Recordings,
    trained: Tensor,
    target: str,
    bits: int,
    epochs: int,
    seed: int,
) -> dict[str, Any]:
    """What is right of the rounded weights, with biases and thresholds corrected, and after fine-tuning."""
    plain, corrected = (
        prepare(example, model, seen, spikeloom.Options(target, bits, correct=choice), seed)
        for choice in (False, True)
    )
    found = {
        "rounded": _measured(answers(plain, held_out.frames), trained, held_out),
        "corrected": _measured(answers(corrected, held_out.frames), trained, held_out),
    }
    fine_tune(example, corrected, model, seen, bits, epochs, seed)
    found["fine_tuned"] = _measured(answers(corrected, held_out.frames), trained, held_out)
    shares = ", ".join(f"{name} {one['accuracy']:.2%}" for name, one in found.items())
    say(f"seed {seed}, {target}, {bits} bits: {shares}")
    return found


def _measured(given: Tensor, trained: Tensor, held_out: Recordings) -> dict[str, Any]:
    """Answers that are right; of them ``gained``, which the trained network has wrong, and those ``lost``."""
    right, before = given == held_out.labels, trained == held_out.labels
    accuracy = Accuracy(int(right.sum()), len(held_out)).to_json()
    return {**accuracy, "lost": int((before & ~right).sum()), "gained": int((right & ~before).sum())}


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
            plan = Plan(example.epochs, example.shift, seed)
            model = train(lambda: example.build({}), own, plan, lambda line: None)
            yield seed, model, own, data.take(torch.from_numpy(tested))


if __name__ == "__main__":
    typer.run(main)
