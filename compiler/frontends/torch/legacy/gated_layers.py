"""Layers with the names of ``fla.modules``, on a processor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeloom.compiler.frontends.torch.legacy import unused


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight; of x + residual, where one is given."""

    def __init__(self, hidden_size: int, elementwise_affine: bool = True, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size)) if elementwise_affine else None
        self.eps = eps

    def forward(self, x: Tensor, residual: Tensor | None = None, prenorm: bool = False) -> Any:
        """The norm of the last axis; with ``prenorm`` also what was normalised."""
        summed = x if residual is None else x + residual
        y = functional.rms_norm(summed, (summed.shape[-1],), self.weight, self.eps)
        return (y, summed) if prenorm else y


def swish(x: Tensor) -> Tensor:
    """A number times its sigmoid."""
    return functional.silu(x)


def __getattr__(name: str) -> Any:
    return unused.__getattr__(name)
