"""The options that say which samples a command works on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.compiler.bundle import Bundle
from spikeloom.errors import InputError
from spikeloom.runtime.events.array_recipe import Recipe, empty_frames, event_recipe, read_recipe
from spikeloom.runtime.events.convert import to_frames
from spikeloom.runtime.events.live.address import is_live
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.arrays import arrays
from spikeloom.runtime.events.samples.dataset import dataset
from spikeloom.runtime.events.samples.recordings import recordings
from spikeloom.runtime.events.samples.sample import Samples

Strict = Annotated[
    bool,
    typer.Option(
        "--strict/--no-strict", help="Refuse damaged recordings, or drop bad events and count them."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@dataclass(frozen=True)
class SampleOptions:
    """The options that say which samples a network is run on."""

    PANEL = "The samples"

    events: Annotated[
        str | None, typer.Option(help="Recordings: a file, a folder or a glob.", metavar="PATH")
    ] = None
    inputs: Annotated[Path | None, typer.Option(help="Frames in an .npz: x [N,T,...], and labels y.")] = None
    data: Annotated[
        str | None, typer.Option(help="A data set of (x, y) pairs.", metavar="FILE.py:factory")
    ] = None
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Labels of the recordings: a TSV of file and label, or «folders»: a folder for each class."
        ),
    ] = None
    strict: Strict = True

    @property
    def named(self) -> tuple[str, ...]:
        """The sources that are named, by their options."""
        sources = {"--events": self.events, "--inputs": self.inputs, "--data": self.data}
        return tuple(option for option, value in sources.items() if value)

    def open(self, bundle: Bundle) -> Samples:
        """The samples, for a network.

        Raises:
            InputError: SL0901, not exactly one source is named; others as the source says.
        """
        if len(self.named) != 1:
            wanted, got = "--events, --inputs or --data", " and ".join(self.named)
            raise InputError.of("SL0901", "samples", "name one source", wanted=wanted, got=got)
        if self.events is not None and is_live(self.events):
            remedy = f"spikeloom stream BUNDLE {self.events}"
            raise InputError.of("SL0901", "--events", "a live source is no set of samples", remedy=remedy)
        if self.labels is not None and self.events is None:
            what = "belongs to --events; arrays and data sets bring their own"
            raise InputError.of("SL0901", "--labels", what)
        recipe = read_recipe(bundle.json("recipe.json"))
        shape = bundle.graph.types[bundle.graph.inputs[0]].shape
        return self._open(recipe, (recipe.steps, *shape)).followed_by(
            empty_frames(recipe, recipe.flush, shape)
        )

    def _open(self, recipe: Recipe, sequence: tuple[int, ...]) -> Samples:
        if self.events is not None:
            events = event_recipe(recipe, "--events")
            return recordings(self.events, events, self.labels, self.strict, sequence)
        encode = to_frames if isinstance(recipe, FrameRecipe) else recipe.encode
        if self.inputs is not None:
            return arrays(self.inputs, sequence, encode)
        assert self.data is not None
        frames = recipe if isinstance(recipe, FrameRecipe) else None
        return dataset(self.data, frames, sequence, self.strict, encode)
