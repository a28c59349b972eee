"""The options that say which samples a command works on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikeloom.errors import InputError
from spikeloom.runtime.events.array_recipe import ArrayRecipe, Recipe, event_recipe
from spikeloom.runtime.events.convert import to_frames
from spikeloom.runtime.events.live.address import is_live
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples import Samples, arrays, dataset, recordings

Events = Annotated[str | None, typer.Option(help="Recordings: a file, a folder or a glob.", metavar="PATH")]
Inputs = Annotated[Path | None, typer.Option(help="Frames in an .npz: x [N,T,...], and labels y.")]
Data = Annotated[str | None, typer.Option(help="A data set of (x, y) pairs.", metavar="FILE.py:factory")]
Labels = Annotated[
    Path | None,
    typer.Option(
        help="Labels of the recordings: a TSV of file and label, or «folders»: a folder for each class."
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict/--no-strict", help="Refuse damaged recordings, or drop bad events and count them."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def open_samples(
    recipe: Recipe,
    shape: tuple[int, ...],
    events: str | None,
    inputs: Path | None,
    data: str | None,
    labels: Path | None,
    strict: bool,
) -> Samples:
    """The samples that the options name; ``shape`` is that of one frame.

    Raises:
        InputError: SL0901, not exactly one source is named; others as the source says.
    """
    named = [
        option for option, value in (("--events", events), ("--inputs", inputs), ("--data", data)) if value
    ]
    if len(named) != 1:
        raise InputError.of(
            "SL0901",
            "samples",
            "name one source",
            wanted="--events, --inputs or --data",
            got=" and ".join(named),
        )
    if events is not None and is_live(events):
        remedy = f"spikeloom stream BUNDLE {events}"
        raise InputError.of("SL0901", "--events", "a live source is no set of samples", remedy=remedy)
    if labels is not None and events is None:
        raise InputError.of("SL0901", "--labels", "belongs to --events; arrays and data sets bring their own")
    samples = _open(recipe, (recipe.steps, *shape), events, inputs, data, labels, strict)
    return samples.followed_by(recipe.flush, recipe.empty_byte)


def _open(
    recipe: Recipe,
    sequence: tuple[int, ...],
    events: str | None,
    inputs: Path | None,
    data: str | None,
    labels: Path | None,
    strict: bool,
) -> Samples:
    if events is not None:
        return recordings(events, event_recipe(recipe, "--events"), labels, strict, sequence)
    encode = recipe.encode if isinstance(recipe, ArrayRecipe) else to_frames
    if inputs is not None:
        return arrays(inputs, sequence, encode)
    assert data is not None
    return dataset(data, recipe if isinstance(recipe, FrameRecipe) else None, sequence, strict, encode)
