"""Models that take tokens: how many there are, and in which type they must come.

Every input of a capture is float32, as pictures and events are; an index into a table of stored rows must
be an integer. What a model does first with its input says whether it is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spikeloom.compiler.frontends.torch.axes import InputShape, Sizes
from spikeloom.compiler.frontends.torch.neurons import reset_states
from spikeloom.compiler.frontends.torch.quiet import quiet_torch

_LOOKED_AT = Sizes(3, 2)


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a model takes.

    Attributes:
        size: how many rows the table has that its input picks from.
        converts: whether the model itself makes integers of its input.
    """

    size: int
    converts: bool


class _FoundError(Exception):
    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.vocabulary = vocabulary


class _FirstLookup(TorchFunctionMode):
    """Stops a model where it first looks its input up in a table, and tells the table's length."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self._x = x

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        if func is nn.functional.embedding:
            indices, table = _bound(*args, **keywords)
            if self._x.numel() % max(1, indices.numel()) == 0 and bool((indices == 1).all()):
                raise _FoundError(Vocabulary(len(table), not indices.is_floating_point()))
        return func(*args, **keywords)


def _bound(input: Tensor, weight: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:  # noqa: A002
    return input, weight


@quiet_torch()
def vocabulary_of(model: nn.Module, shape: InputShape) -> Vocabulary | None:
    """The vocabulary of a model whose input is tokens; None if it is something else.

    The model is called with ones, in eval mode, until it looks them up in a table; what it computes behind
    that is not run. Pictures and frames are no tokens.
    """
    if len(shape.sample) > 1:
        return None
    x = torch.ones(shape.concrete(_LOOKED_AT))
    try:
        with torch.no_grad(), _FirstLookup(x):
            model.eval()(x)
    except _FoundError as found:
        return found.vocabulary
    except Exception:  # whatever the model's own code raises: the capture will say it
        return None
    finally:
        reset_states(model)
    return None


class TakingTokens(nn.Module):
    """A model that wants its tokens as integers, as one that takes them as all others take their inputs.

    Attributes:
        model: as its authors wrote it.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        """Call the model on the same numbers in int64."""
        return self.model(x.long())
