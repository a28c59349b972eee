"""The recipe of a network that takes arrays, such as pictures: what a byte of its input means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import REAL, Kind, frame_dtype, index, levels
from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.token_recipe import TokenRecipe

LEVELS = 255


@dataclass(frozen=True, kw_only=True)
class ArrayRecipe:
    """Inputs in bytes: real = scale * (byte - zero).

    Attributes:
        shape: of the input at one time step.
        steps: time steps a sample, T.
        scale: real value of one level, above zero.
        zero: the byte that stands for 0.0.
        max_value: the largest byte in use.
        flush: empty frames after the last, on which a network that looks ahead or goes on runs to its end.
        kind: «array».

    >>> recipe = ArrayRecipe.spanning(np.array([[-1.0, 0.5, 3.0]]), steps=4)
    >>> recipe.zero, recipe.encode(np.array([-1.0, 0.0, 3.0])).tolist()
    (64, [0, 64, 255])
    >>> ArrayRecipe.from_json(recipe.to_json()) == recipe
    True
    """

    shape: tuple[int, ...]
    steps: int
    scale: float = 1.0
    zero: int = 0
    max_value: int = LEVELS
    flush: int = 0
    kind: str = "array"

    @staticmethod
    def spanning(samples: NDArray[Any], steps: int) -> ArrayRecipe:
        """The recipe whose bytes span the range of calibration samples [N, ...].

        Whole numbers from 0 to 255 are taken as they are. Otherwise the range is widened to hold 0.0,
        which gets a byte of its own, so that padding with zeros stays exact.
        """
        shape = tuple(samples.shape[1:])
        low, high = min(0.0, float(samples.min())), max(0.0, float(samples.max()))
        if low == 0 and high <= LEVELS and bool((samples == np.rint(samples)).all()):
            return ArrayRecipe(shape=shape, steps=steps, max_value=max(1, int(high)))
        scale = (high - low) / LEVELS
        zero = int(np.rint(-low / scale))
        return ArrayRecipe(shape=shape, steps=steps, scale=scale, zero=zero)

    @property
    def sequence_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (steps, ...)."""
        return (self.steps, *self.shape)

    @property
    def empty_byte(self) -> int:
        """What an empty frame holds: the byte of 0.0."""
        return self.zero

    def encode(self, x: NDArray[Any], where: str = "input") -> NDArray[np.uint8]:
        """The nearest bytes, within the range that the network takes.

        Raises:
            InputError: SL0121, these are no numbers, or not all are finite.
        """
        if x.dtype.kind not in "biuf" or not np.isfinite(x).all():
            raise InputError.of("SL0121", where, "holds something else than finite numbers", got=x.dtype)
        levels = np.rint(np.asarray(x, np.float64) / self.scale) + self.zero
        encoded: NDArray[np.uint8] = np.clip(levels, 0, self.max_value).astype(np.uint8)
        return encoded

    def decode(self, levels: Array) -> NDArray[np.float64]:
        """The real values that the network takes for bytes."""
        real: NDArray[np.float64] = self.scale * (levels.astype(np.float64) - self.zero)
        return real

    def to_json(self) -> dict[str, Any]:
        """The recipe as a JSON object with the attributes as keys."""
        return asdict(self) | {"shape": list(self.shape)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: str = "recipe.json") -> ArrayRecipe:
        """The recipe of a JSON object as :meth:`to_json` gives it.

        Raises:
            InputError: SL0110, it is malformed.
        """
        try:
            recipe = cls(**{**content, "shape": tuple(int(axis) for axis in content["shape"])})
            holds = (
                recipe.steps >= 1
                and recipe.flush >= 0
                and recipe.scale > 0
                and 0 <= recipe.zero <= LEVELS
                and 1 <= recipe.max_value <= LEVELS
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError.of("SL0110", where, f"is no recipe of arrays: {error}") from error
        if not holds:
            raise InputError.of("SL0110", where, "is no recipe of arrays", got=dict(content))
        return recipe


Recipe = FrameRecipe | ArrayRecipe | TokenRecipe


def integer_kind(recipe: Recipe) -> Kind:
    """Which integers the input of a network holds.

    >>> integer_kind(TokenRecipe(shape=(), steps=4, vocabulary=50277))
    index(50277)
    """
    return index(recipe.vocabulary) if isinstance(recipe, TokenRecipe) else levels(recipe.max_value)


def given_kind(recipe: Recipe) -> Kind:
    """What the trained network is given for them: whole numbers, where each means itself."""
    return integer_kind(recipe) if (recipe.scale, recipe.zero) == (1.0, 0) else REAL


def empty_frames(recipe: Recipe, count: int, shape: tuple[int, ...]) -> Array:
    """So many empty frames [count, *shape], of the type of the network's frames."""
    return np.full((count, *shape), recipe.empty_byte, frame_dtype(integer_kind(recipe)))


def read_recipe(content: Mapping[str, Any], where: str = "recipe.json") -> Recipe:
    """The recipe of a bundle: of events, of arrays, or of tokens.

    Raises:
        InputError: SL0110, it is malformed.
    """
    if isinstance(content, Mapping) and content.get("kind") == "array":
        return ArrayRecipe.from_json(content, where)
    if isinstance(content, Mapping) and content.get("kind") == "tokens":
        return TokenRecipe.from_json(content, where)
    return FrameRecipe.from_json(content, where)


def token_recipe(recipe: Recipe, where: str) -> TokenRecipe:
    """The recipe, if the network takes tokens.

    Raises:
        InputError: SL0110, it takes something else.
    """
    if isinstance(recipe, TokenRecipe):
        return recipe
    raise InputError.of("SL0110", where, f"the network takes {list(recipe.shape)} at a step and no tokens")


def event_recipe(recipe: Recipe, where: str) -> FrameRecipe:
    """The recipe, if it makes frames of events.

    Raises:
        InputError: SL0110, the network takes arrays.
    """
    if isinstance(recipe, FrameRecipe):
        return recipe
    takes = "tokens" if isinstance(recipe, TokenRecipe) else "arrays"
    raise InputError.of(
        "SL0110",
        where,
        f"the network takes {takes} {list(recipe.shape)} and no events",
        remedy="give them with --inputs FILE.npz",
    )
