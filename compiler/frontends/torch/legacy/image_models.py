"""The few names of timm that model files of spiking transformers use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.errors import InputError

_MODELS: dict[str, Callable[..., nn.Module]] = {}


def register_model(factory: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Remember a factory under its name."""
    _MODELS[factory.__name__] = factory
    return factory


def create_model(model_name: str, **keywords: Any) -> nn.Module:
    """Call a remembered factory.

    Raises:
        InputError: SL0201, nothing was registered under this name.
    """
    if model_name not in _MODELS:
        raise InputError.of("SL0201", model_name, "is no registered model", wanted=", ".join(sorted(_MODELS)))
    return _MODELS[model_name](**{key: value for key, value in keywords.items() if value is not None})


def to_2tuple(x: Any) -> tuple[Any, ...]:
    """A pair: of a number twice, or the pair itself."""
    return tuple(x) if isinstance(x, (list, tuple)) else (x, x)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Tensor:
    """Fill with a normal distribution cut at a and b."""
    with torch.no_grad():
        return nn.init.trunc_normal_(tensor, mean, std, a, b)


def _cfg(url: str = "", **keywords: Any) -> dict[str, Any]:
    """The settings that timm keeps beside a model."""
    return {"url": url, "num_classes": 1000, "input_size": (3, 224, 224), **keywords}


class DropPath(nn.Module):
    """Drops whole samples of a branch in training; without effect in eval mode.

    Args:
        drop_prob: share of the samples.
        scale_by_keep: whether the others grow accordingly.
    """

    def __init__(self, drop_prob: float = 0.0, scale_by_keep: bool = True) -> None:
        super().__init__()
        self.drop_prob, self.scale_by_keep = drop_prob, scale_by_keep

    def forward(self, x: Tensor) -> Tensor:
        """X itself in eval mode."""
        if not self.training or not self.drop_prob:
            return x
        kept = 1 - self.drop_prob
        mask = torch.empty(x.shape[0], *(1,) * (x.ndim - 1)).bernoulli_(kept)
        return x * mask / (kept if self.scale_by_keep else 1)
