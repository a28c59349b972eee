"""Containers with the names of ``spikingjelly.clock_driven.layer``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.legacy.functions import seq_to_ann_forward


class SeqToANNContainer(nn.Sequential):
    """Layers without state, run on [T, B, ...] with T and B folded."""

    def forward(self, x_seq: Tensor) -> Tensor:
        """[T, B, ...] to [T, B, ...]."""
        return seq_to_ann_forward(x_seq, list(self))


class MultiStepContainer(nn.Sequential):
    """Layers for one step, run step by step on [T, ...]."""

    def forward(self, x_seq: Tensor) -> Tensor:
        """[T, ...] to [T, ...]."""
        steps = []
        for y in x_seq:
            for layer in self:
                y = layer(y)
            steps.append(y)
        return torch.stack(steps)


class Dropout(nn.Dropout):
    """Without effect in eval mode."""

    def __init__(self, p: float = 0.5, **_: Any) -> None:
        super().__init__(p)


class MultiStepDropout(Dropout):
    """Without effect in eval mode."""
