"""A spiking transformer of one block for tests: written next to its recordings, as a user's file would be."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn

INPUT_SHAPE = ("T", "B", 2, 8, 8)


def lif(threshold: float = 1.0) -> neuron.LIFNode:
    return neuron.LIFNode(tau=2.0, v_threshold=threshold, detach_reset=True, step_mode="m")


def conv(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        layer.Conv1d(channels_in, channels_out, 1, bias=False, step_mode="m"),
        layer.BatchNorm1d(channels_out, step_mode="m"),
        lif(),
    )


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (conv(channels, channels) for _ in range(3))
        self.fire = lif(0.5)
        self.proj = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.q(x), self.k(x), self.v(x)
        y: Tensor = self.proj(self.fire(v @ k.transpose(-2, -1) @ q * 0.25))
        return y


class Tiny(nn.Module):
    def __init__(self, channels: int = 8, classes: int = 3) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            layer.Conv2d(2, channels, 3, stride=2, padding=1, bias=False, step_mode="m"),
            layer.BatchNorm2d(channels, step_mode="m"),
            lif(),
        )
        self.attention = Attention(channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(-2)
        scores: Tensor = self.head((tokens + self.attention(tokens)).mean(-1))
        return scores


def build(config: dict[str, int] | None = None) -> Tiny:
    torch.manual_seed(0)
    return Tiny(**(config or {}))
