"""Numbers that are rounded on the way forward, and pass gradients as if they were not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.quantize.thresholds import ALIGNED


class _StraightThrough(torch.autograd.Function):
    """Gives the second argument, and the gradient to the first (Bengio et al., 2013, arXiv 1308.3432)."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, exact: Tensor) -> Tensor:
        return exact

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight_through(smooth: Tensor, exact: Tensor) -> Tensor:
    """The numbers of ``exact`` with the gradient of ``smooth``; both of one shape and precision.

    >>> x = torch.tensor([0.4, 1.6], requires_grad=True)
    >>> y = straight_through(3 * x, x.detach().round())
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([0.0, 2.0], [3.0, 3.0])
    """
    result: Tensor = _StraightThrough.apply(smooth, exact)  # type: ignore[no-untyped-call]
    return result


def rounded(smooth: Tensor) -> Tensor:
    """The nearest integers, halves to the even neighbour as NumPy's ``rint``."""
    return straight_through(smooth, smooth.detach().round())


def on_bias_grid(smooth: Tensor, profile: NumericProfile) -> Tensor:
    """Biases in state units on the grid of a profile: a signed mantissa, shifted left.

    What is too large for the widest shift is clipped, where the quantizer refuses: training must go on.
    """
    limit = 2 ** (profile.bias_mantissa_bits - 1) - 1
    widest = 2**profile.bias_exponent_bits - 1
    smooth = smooth.clamp(-(limit << widest), limit << widest)
    exact = smooth.detach()
    fitting = (e for e in range(widest) if bool(((exact / 2**e).round().abs() <= limit).all()))
    one = 2.0 ** next(fitting, widest)
    return straight_through(smooth, (exact / one).round().clamp(-limit, limit) * one)


def on_threshold_grid(smooth: Tensor, profile: NumericProfile) -> Tensor:
    """The largest potential that does not fire, where ``smooth`` is the first that does."""
    step = profile.threshold_step
    exact = smooth.detach()
    exact = (exact - ALIGNED).ceil() - 1 if step == 1 else (exact / step).round() * step
    largest = (2**profile.threshold_bits - 1) * step
    return straight_through(smooth - 1, exact.clamp(0, largest))
