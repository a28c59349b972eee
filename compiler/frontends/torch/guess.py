"""Which arguments a model's constructor was called with, guessed from a checkpoint that does not fit."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.checkpoint import Checkpoint, load_into
from spikeloom.errors import InputError

_NUMBERED = re.compile(r"^(.*?)\.(\d+)\.")
ROUNDS = 4


def guess_arguments(
    factory: Callable[..., Any], given: Mapping[str, Any], checkpoint: Checkpoint
) -> dict[str, Any]:
    """Keywords with which the factory builds a model that the checkpoint fits; {} if none are found.

    An argument is a candidate if its number is an axis of a tensor that has another shape in the
    checkpoint, or how often a numbered part such as ``block.3`` is repeated. What is returned was tried:
    the model was built with it, and the checkpoint loaded.

    Args:
        factory: builds the model.
        given: keywords that were tried and do not fit.
        checkpoint: of the model.
    """
    keywords = dict(given)
    for _ in range(ROUNDS):
        try:
            model = factory(**keywords)
            load_into(model, checkpoint)
        except InputError:
            pass
        except Exception:  # whatever the user's own code raises for such arguments
            return {}
        else:
            return {name: value for name, value in keywords.items() if given.get(name) != value}
        better = _improved(factory, keywords, model, checkpoint.tensors)
        if not better:
            return {}
        keywords |= better
    return {}


def _improved(
    factory: Callable[..., Any], keywords: Mapping[str, Any], model: nn.Module, tensors: Mapping[str, Tensor]
) -> dict[str, int]:
    """Arguments whose number stands for another in the checkpoint."""
    current = _numbers(factory, keywords)
    wanted = model.state_dict()
    votes: Counter[tuple[str, int]] = Counter()
    for name, have in wanted.items():
        got = tensors.get(name)
        if got is None or got.ndim != have.ndim:
            continue
        for own, theirs in zip(have.shape, got.shape, strict=True):
            votes.update((a, int(theirs)) for a, number in current.items() if number == own != theirs)
    ours, theirs_counts = _repeats(wanted), _repeats(tensors)
    for part, count in theirs_counts.items():
        if part in ours and ours[part] != count:
            votes.update((a, count) for a, number in current.items() if number == ours[part])
    best: dict[str, int] = {}
    for (argument, number), _ in votes.most_common():
        if argument not in best and number not in best.values():
            best[argument] = number
    return best


def _numbers(factory: Callable[..., Any], keywords: Mapping[str, Any]) -> dict[str, int]:
    """The whole numbers among a factory's arguments, defaults included."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:
        return {}
    values = {p.name: keywords.get(p.name, p.default) for p in parameters}
    return {name: value for name, value in values.items() if type(value) is int}


def _repeats(tensors: Mapping[str, Any]) -> dict[str, int]:
    """How often each numbered part of a model is there."""
    repeats: dict[str, int] = {}
    for name in tensors:
        if found := _NUMBERED.match(name):
            repeats[found[1]] = max(repeats.get(found[1], 0), int(found[2]) + 1)
    return repeats
