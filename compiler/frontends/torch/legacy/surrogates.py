"""Surrogate functions: a step forward, a smooth slope backward. For a compiler only the step counts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _Step(torch.autograd.Function):
    """1 where x >= 0; backward the derivative of atan(pi/2 alpha x)/pi."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.alpha = alpha
        return (x >= 0).to(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        slope = ctx.alpha / 2 / (1 + (torch.pi / 2 * ctx.alpha * x).square())
        return gradients[0] * slope, None


class SurrogateFunction(nn.Module):
    """A spike where x >= 0."""

    def __init__(self, alpha: float = 2.0, spiking: bool = True, **_: Any) -> None:
        super().__init__()
        self.alpha, self.spiking = alpha, spiking

    def forward(self, x: Tensor) -> Tensor:
        """0 or 1, of the shape of x."""
        spikes: Tensor = _Step.apply(x, float(self.alpha))  # type: ignore[no-untyped-call]
        return spikes


class ATan(SurrogateFunction):
    """A spike where x >= 0."""


class Sigmoid(SurrogateFunction):
    """A spike where x >= 0."""


class SoftSign(SurrogateFunction):
    """A spike where x >= 0."""


class PiecewiseQuadratic(SurrogateFunction):
    """A spike where x >= 0."""


class Erf(SurrogateFunction):
    """A spike where x >= 0."""
