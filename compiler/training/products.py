"""Sums of products of integers in floating point: exact, and as narrow as that allows.

Every partial sum of integers below 2**24 is exact in float32, in whatever order it is taken; the numbers
at hand say whether that holds. Else float64 is, as the type rules prove. Other devices than the CPU may
take other algorithms: while a network is evaluated they compute in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spikeloom.compiler.graph.convolution import Convolution

EXACT_FLOAT32 = 2**24


def convolve(op: Convolution, x: Tensor, weight: Tensor) -> Tensor:
    """The cross-correlation of an operation with integers [N, channels, ...], without its bias."""
    call = functional.conv1d if op.axes == 1 else functional.conv2d
    largest = weight.detach().abs().flatten(1).sum(1).max()
    dtype = _dtype(x, largest)
    return call(x.to(dtype), weight.to(dtype), None, op.stride, op.padding, op.dilation, op.groups)


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product of integers [..., I, K] and [..., K, J]."""
    dtype = _dtype(a, b.detach().abs().sum(-2).max())
    return a.to(dtype) @ b.to(dtype)


def _dtype(x: Tensor, largest: Tensor) -> torch.dtype:
    """float32 if the sum of weights times the largest input cannot leave what it holds exactly."""
    if x.device.type != "cpu":
        return torch.float32 if torch.is_grad_enabled() else torch.float64
    reach = x.detach().abs().max().double() * largest.double()
    return torch.float32 if float(reach) < EXACT_FLOAT32 else torch.float64
