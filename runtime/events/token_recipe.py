"""The recipe of a network that takes tokens: which of a vocabulary, as a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import frame_dtype, index
from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError
from spikeloom.runtime.events.convert import require_whole

MOST_TOKENS = 2**24
"""More could not be told apart in float32, in which PyTorch takes its inputs."""


@dataclass(frozen=True, kw_only=True)
class TokenRecipe:
    """Tokens, each a whole number below the size of the vocabulary: nothing is scaled, and nothing clipped.

    Attributes:
        shape: of the input at one time step; () for one token a step.
        steps: time steps a sample, T.
        vocabulary: how many tokens there are.
        flush: empty frames (of token 0) after the last, on which a network that looks ahead runs to its end.
        kind: «tokens».

    >>> recipe = TokenRecipe(shape=(), steps=4, vocabulary=50277)
    >>> recipe.encode(np.array([11, 50276]))
    array([   11, 50276], dtype=uint16)
    >>> TokenRecipe.from_json(recipe.to_json()) == recipe
    True
    """

    shape: tuple[int, ...]
    steps: int
    vocabulary: int
    flush: int = 0
    kind: str = "tokens"

    @property
    def scale(self) -> float:
        """A number means itself."""
        return 1.0

    @property
    def zero(self) -> int:
        """As :attr:`scale` says."""
        return 0

    @property
    def empty_byte(self) -> int:
        """What an empty frame holds."""
        return 0

    @property
    def max_value(self) -> int:
        """The last token."""
        return self.vocabulary - 1

    @property
    def sequence_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (steps, ...)."""
        return (self.steps, *self.shape)

    def encode(self, x: NDArray[Any], where: str = "input") -> Array:
        """The tokens as the network takes them: uint8, or uint16 or uint32 where the vocabulary needs it.

        Raises:
            InputError: SL0121, these are not all whole numbers of the vocabulary.
        """
        remedy = "encode the text with the model's own tokenizer"
        require_whole(x, 0, self.max_value, where, remedy)
        return x.astype(frame_dtype(index(self.vocabulary)))

    def decode(self, tokens: Array) -> NDArray[np.float64]:
        """The same numbers, as trained networks are given them."""
        return tokens.astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        """The recipe as a JSON object with the attributes as keys."""
        return {**vars(self), "shape": list(self.shape)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: str = "recipe.json") -> TokenRecipe:
        """The recipe of a JSON object as :meth:`to_json` gives it.

        Raises:
            InputError: SL0110, it is malformed.
        """
        try:
            recipe = cls(**{**content, "shape": tuple(int(axis) for axis in content["shape"])})
            holds = recipe.steps >= 1 and recipe.flush >= 0 and 1 <= recipe.vocabulary <= MOST_TOKENS
        except (KeyError, TypeError, ValueError) as error:
            raise InputError.of("SL0110", where, f"is no recipe of tokens: {error}") from error
        if not holds:
            raise InputError.of("SL0110", where, "is no recipe of tokens", got=dict(content))
        return recipe
