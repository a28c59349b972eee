"""The options that say what a network is calibrated on, and the frames that they name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from spikeloom.cli.sources import Strict
from spikeloom.errors import InputError
from spikeloom.runtime.events.npz import holds_events
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.arrays import arrays, read_arrays
from spikeloom.runtime.events.samples.dataset import dataset
from spikeloom.runtime.events.samples.recordings import recordings
from spikeloom.runtime.events.samples.sample import Samples
from spikeloom.runtime.events.stream import DropReport

if TYPE_CHECKING:
    from spikeloom.compiler.frontends.torch.axes import InputShape

RANDOM = "random:"
NOISE = f"{RANDOM}4"
"""What a model is compiled on where nothing is named: it shows that the model compiles, and no more."""
SEED = 0
ON = 0.3
"""Share of the pixels of random frames of events in which there was one."""

Calibrate = Annotated[
    str,
    typer.Option(
        help="Recordings (a file, a folder, a glob), an .npz or .npy of inputs, FILE.py:factory, or random:N."
    ),
]
AtMost = Annotated[int, typer.Option(min=1, help="Calibrate on at most so many samples.")]


@dataclass(frozen=True)
class CalibrationOptions:
    """The options that say what a network is calibrated on."""

    PANEL = "What it is calibrated on"

    calibrate: Calibrate = ""
    recipe: Annotated[
        Path | None, typer.Option(help="How events become frames (TOML); none if it takes arrays.")
    ] = None
    samples: AtMost = 64
    strict: Strict = True

    @property
    def random(self) -> bool:
        """Whether the samples are made up."""
        return self.calibrate.startswith(RANDOM)

    def frames(self, steps: int) -> FrameRecipe | None:
        """The recipe, if there is one; to be called once, since it reads the file.

        Args:
            steps: time steps that the user asks for; 0 if the recipe is to say it.

        Raises:
            InputError: as :meth:`FrameRecipe.from_toml`; SL0901, it has another number of time steps.
        """
        if self.recipe is None:
            return None
        recipe = FrameRecipe.from_toml(self.recipe)
        if steps not in (0, recipe.steps):
            raise InputError.of(
                "SL0901",
                "--steps",
                f"{self.recipe} says another number of time steps",
                wanted=recipe.steps,
                got=steps,
                remedy="leave --steps out, or change the recipe",
            )
        return recipe

    @property
    def provenance(self) -> dict[str, str]:
        """What a bundle says of samples that are made up; of others it says nothing."""
        return {"calibration": self.calibrate} if self.random else {}

    def or_noise(self) -> CalibrationOptions:
        """The same, on random inputs where nothing is named."""
        return self if self.calibrate else replace(self, calibrate=NOISE)

    def require(self) -> None:
        """Refuse where nothing is named.

        Raises:
            InputError: SL0901.
        """
        if not self.calibrate:
            what = "nothing says what to calibrate on"
            raise InputError.of(
                "SL0901", "--calibrate", what, remedy="--calibrate FOLDER, X.npy, or random:8 to try it"
            )


def calibration(
    given: CalibrationOptions,
    recipe: FrameRecipe | None,
    shape: InputShape,
    steps: int,
    vocabulary: int = 0,
) -> tuple[NDArray[Any], DropReport]:
    """Frames [steps, samples, ...] ([samples, ...] if the input has no time), and what was dropped.

    Of more samples than are asked for so many are taken, spread evenly over the source. ``recipe`` is that of
    the options, ``vocabulary`` the number of tokens, where the network takes tokens.

    Raises:
        InputError: SL0901, the source cannot be read so; others as the source says.
    """
    source = given.calibrate
    if given.random:
        return _random(source, recipe, shape, steps, vocabulary), DropReport()
    if recipe is None:
        return _given(source, shape, steps, given.samples), DropReport()
    samples = _open(source, recipe, shape.sample, given.strict)
    if len(samples) == 0:
        raise InputError.of("SL0505", source, "holds no recordings")
    taken = list(samples.at(_spread(len(samples), given.samples).tolist()))
    dropped = sum((sample.report for sample in taken), DropReport())
    return np.stack([sample.frames for sample in taken], 1), dropped


def _random(
    source: str, recipe: FrameRecipe | None, shape: InputShape, steps: int, vocabulary: int
) -> NDArray[Any]:
    """Frames in which each pixel is on by chance; pictures of uniform brightness from 0 to 1; any tokens.

    Where pixels do not count events, those that are on hold any of their values.
    """
    number = source.removeprefix(RANDOM)
    if not number.isdecimal() or int(number) < 1:
        raise InputError.of("SL0901", "--calibrate", f"{source!r} says no number", wanted="random:N")
    generator = np.random.default_rng(SEED)
    if vocabulary and recipe is None:
        lead = (steps or _needed_steps(), int(number)) if shape.lead.has_time else (int(number),)
        return generator.integers(0, vocabulary, (*lead, *shape.sample))
    if not shape.lead.has_time:
        return generator.random((int(number), *shape.sample), np.float32)
    wanted = (steps or _needed_steps()) if recipe is None else recipe.steps
    on = generator.random((wanted, int(number), *shape.sample)) < ON
    if recipe is None or recipe.frame == "counts":
        return on.astype(np.uint8)
    frames = generator.integers(0, recipe.max_value, on.shape, np.uint8, endpoint=True)
    return np.where(on, frames, np.uint8(recipe.zero))


def _given(source: str, shape: InputShape, steps: int, count: int) -> NDArray[Any]:
    """The inputs of a file: x [N, ...] or [N, T, ...]."""
    if Path(source).suffix not in (".npz", ".npy"):
        raise InputError.of(
            "SL0901",
            "--calibrate",
            f"{source} holds recordings, and nothing says how they become frames",
            wanted="an .npz or .npy of inputs, or random:N",
            remedy="say it with --recipe",
        )
    x, _ = read_arrays(Path(source))
    x = x[_spread(len(x), count)]
    if not shape.lead.has_time:
        return x
    if x.shape[1:] == shape.sample and shape.sample:  # a single number is no frame to be shown at each step
        return np.broadcast_to(x, (steps or _needed_steps(), *x.shape))
    return x.swapaxes(0, 1) if x.ndim > 1 else x


def _needed_steps() -> int:
    raise InputError.of("SL0901", "--steps", "nothing says how many time steps there are", remedy="--steps N")


def _spread(available: int, count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, available - 1, min(count, available)).round().astype(int))


def _open(source: str, recipe: FrameRecipe, shape: tuple[int, ...], strict: bool) -> Samples:
    sequence = (recipe.steps, *shape)
    path = Path(source)
    if path.suffix in (".npz", ".npy") and not (path.suffix == ".npz" and holds_events(path)):
        return arrays(path, sequence)
    if ".py:" in source:
        return dataset(source, recipe, sequence, strict)
    return recordings(source, recipe, None, strict, sequence)
