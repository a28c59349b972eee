"""A small spiking transformer for 640 x 480 pixels: three strided convolutions, 12 tokens, one block."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn

INPUT_SHAPE = ("T", "B", 2, 480, 640)


def lif(threshold: float = 1.0) -> neuron.LIFNode:
    return neuron.LIFNode(tau=2.0, v_threshold=threshold, detach_reset=True, step_mode="m")


def patch(channels_in: int, channels_out: int, side: int) -> nn.Sequential:
    """Patches of side x side pixels that do not overlap."""
    return nn.Sequential(
        layer.Conv2d(channels_in, channels_out, side, stride=side, bias=False, step_mode="m"),
        layer.BatchNorm2d(channels_out, step_mode="m"),
        lif(),
    )


def dense(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        layer.Conv1d(channels_in, channels_out, 1, bias=False, step_mode="m"),
        layer.BatchNorm1d(channels_out, step_mode="m"),
        lif(),
    )


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (dense(channels, channels) for _ in range(3))
        self.fire = lif(0.5)
        self.proj = dense(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.q(x), self.k(x), self.v(x)
        y: Tensor = self.proj(self.fire(v @ k.transpose(-2, -1) @ q * 0.125))
        return y


class Vga(nn.Module):
    def __init__(self, channels: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.embed = nn.Sequential(patch(2, 16, 8), patch(16, 32, 4), patch(32, channels, 5))
        self.attention = Attention(channels)
        self.mlp = nn.Sequential(dense(channels, 2 * channels), dense(2 * channels, channels))
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(-2)
        tokens = tokens + self.attention(tokens)
        scores: Tensor = self.head((tokens + self.mlp(tokens)).mean(-1))
        return scores


def build(config: dict[str, int] | None = None) -> Vga:
    torch.manual_seed(0)
    return Vga(**(config or {}))
