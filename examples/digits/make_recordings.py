"""Writes scikit-learn's handwritten digits, seen by a simulated event camera, as real event files.

    python -m examples.digits.make_recordings out/digits

makes train/ and test/ with one N-MNIST file (40 bits an event) for each digit, named by its number in
the data set, and train.tsv and test.tsv with their classes. The split is fixed: 1,437 digits to train
on and 360 held out, in equal shares of the classes. The same options give the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from examples.digits.camera import Camera
from spikeloom.atomic import replacing, write_text
from spikeloom.errors import InputError
from spikeloom.runtime.events.nmnist import write_nmnist

HELD_OUT = 360
SPLIT_SEED = 2026  # of the split alone: other noise, the same digits held out


def split() -> dict[str, list[int]]:
    """The numbers of the digits to train on and of those held out, in the order of the tables.

    >>> {part: len(numbers) for part, numbers in split().items()}
    {'train': 1437, 'test': 360}
    """
    classes = load_digits().target
    train, test = train_test_split(
        np.arange(len(classes)), test_size=HELD_OUT, stratify=classes, random_state=SPLIT_SEED
    )
    return {"train": train.tolist(), "test": test.tolist()}


def make_recordings(folder: Path, parts: dict[str, list[int]], seed: int = 0) -> int:
    """Write the recordings of ``parts`` and their tables into ``folder``; says how many events that is.

    A part that is there already is replaced.

    Raises:
        InputError: SL0902, the folder cannot be written, or a part is a folder that holds other files.
    """
    for part in parts:
        _check_replaceable(folder / part)
    folder.mkdir(parents=True, exist_ok=True)
    return sum(_write_part(folder, part, numbers, seed) for part, numbers in parts.items())


def _write_part(folder: Path, part: str, numbers: list[int], seed: int) -> int:
    digits = load_digits()
    films = Camera(seed=seed).record(digits.images[numbers], numbers)
    rows = ["file\tlabel"]
    with replacing(folder / part) as draft:
        draft.mkdir()
        for number, events in zip(numbers, films, strict=True):
            write_nmnist(draft / f"{number:04}.bin", events)
            rows.append(f"{part}/{number:04}.bin\t{digits.target[number]}")
    write_text(folder / f"{part}.tsv", "\n".join(rows) + "\n")
    return sum(len(events) for events in films)


def _check_replaceable(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(path.suffix != ".bin" for path in folder.iterdir())):
        raise InputError.of(
            "SL0902", folder, "holds files that are no recordings", remedy="name another folder"
        )


def main(
    folder: Annotated[Path, typer.Argument(help="Where to write train/, test/ and their tables.")],
    test_only: Annotated[bool, typer.Option("--test-only", help="Only the held-out digits.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many recordings of each part.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the camera's noise.")] = 0,
) -> None:
    """Handwritten digits, seen by a simulated event camera, as event files."""
    parts = {part: numbers[:limit] for part, numbers in split().items() if part == "test" or not test_only}
    try:
        events = make_recordings(folder, parts, seed)
    except InputError as error:
        typer.echo(error, err=True)
        raise typer.Exit(error.exit_status) from error
    counts = ", ".join(f"{len(numbers):,} recordings in {folder / part}" for part, numbers in parts.items())
    typer.echo(f"{counts}; {events:,} events")


if __name__ == "__main__":
    typer.run(main)
