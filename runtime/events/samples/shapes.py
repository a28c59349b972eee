"""Whether frames have the shape that a network takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.errors import Problem
from spikeloom.runtime.events.recipe import FrameRecipe

_OTHER_FRAMES = "correct the recipe, or the input shape of the model"


def at_each_step(frames: Array, shape: tuple[int, ...]) -> Array:
    """Frames [T, ...] as they are; a single frame [...] T times."""
    return np.ascontiguousarray(np.broadcast_to(frames, shape))


def wrong_shape(where: str, got: Sequence[int], shape: Sequence[int]) -> list[Problem]:
    """The problem of a sample, or none: frames [T, ...], or one frame for all steps."""
    steps, frame = list(shape), list(shape[1:])
    if list(got) in (steps, frame) and got:  # a single number is no frame to be shown at each step
        return []
    wanted = f"{steps} [T, ...]" + f" or one frame {frame}" * bool(frame)
    what = "a sample has not the shape that the network takes"
    return [Problem("SL0111", where, what, wanted, str(list(got)))]


def wrong_recipe(where: str, recipe: FrameRecipe, shape: Sequence[int] | None) -> list[Problem]:
    """The problem of a recipe whose frames are not of this shape, or none."""
    got = list(recipe.sequence_shape)
    if shape is None or got == list(shape):
        return []
    what = "the recipe's frames have not the shape that the network takes"
    return [Problem("SL0111", where, what, str(list(shape)), str(got), _OTHER_FRAMES)]
