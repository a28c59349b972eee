"""Attention with a softmax by its definition, of all tokens of a step or along the tokens before.

PyTorch computes ``scaled_dot_product_attention`` in one of several kernels that round differently. What a
capture is held to is its definition: two products and a softmax, as in PyTorch's own mathematical kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


def scale_root(scale: float | None, features: int) -> float:
    """By what queries and keys are multiplied each; the scale is 1/sqrt(features) if it is not given."""
    return float((features**-0.5 if scale is None else scale) ** 0.5)


def window_softmax(scores: Tensor, axis: int, seen: int) -> Tensor:
    """Shares along an axis of which the last ``seen`` elements have arrived."""
    size = scores.shape[axis]
    absent = torch.arange(size) < size - min(seen, size)
    shape = [size if place == axis % scores.ndim else 1 for place in range(scores.ndim)]
    return scores.masked_fill(absent.reshape(shape), float("-inf")).softmax(axis)


def window_of(mask: Tensor | None, causal: bool, steps: int) -> int | None:
    """To how many tokens, itself included, each attends: a causal mask or a sliding window; else None.

    Args:
        mask: of booleans, what is seen; or numbers that are added, minus infinity for what is not.
        causal: whether only tokens before are seen, without a mask.
        steps: tokens.

    >>> window_of(torch.ones(3, 3).tril().bool(), False, 3)
    3
    >>> window_of(torch.tensor([[0.0, float("-inf")], [float("-inf"), 0.0]]), False, 2)
    1
    """
    if mask is None:
        return steps if causal else None
    seen = mask if mask.dtype == torch.bool else ~torch.isneginf(mask)
    if seen.shape[-2:] != (steps, steps) or seen.numel() != steps * steps:
        return None
    if mask.dtype != torch.bool and bool((mask[seen] != 0).any()):
        return None
    band = seen.reshape(steps, steps)
    size = int(band[-1].sum())
    distance = torch.arange(steps)[:, None] - torch.arange(steps)
    return size if torch.equal(band, (distance >= 0) & (distance < size)) else None


def attend_before(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Tensor:
    """Attention along the tokens [B, heads, T, features], one token after the other.

    Raises:
        ValueError: the mask is no window of the tokens before.
    """
    given: dict[str, Any] = {**dict(zip(ARGUMENTS, args, strict=False)), **keywords}
    q, k, v = (given[name] for name in ARGUMENTS[:3])
    steps = q.shape[2]
    size = window_of(given.get("attn_mask"), given.get("is_causal", False), steps)
    if size is None:
        raise ValueError("attention along time to other tokens than those of a window before")
    root = scale_root(given.get("scale"), q.shape[-1])
    keys, values = (functional.pad(x, (0, 0, size - 1, 0)) for x in (k, v))
    parts = []
    for step in range(steps):
        window = slice(step, step + size)
        now, key, value = (
            x.contiguous() for x in (q[:, :, step : step + 1], keys[:, :, window], values[:, :, window])
        )
        scores = (now * root) @ (key.transpose(-2, -1) * root)
        parts.append(window_softmax(scores, -1, step + 1) @ value)
    return torch.cat(parts, 2)
