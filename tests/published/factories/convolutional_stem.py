"""Spikformer V2 after its paper, of which no code is public, with SpikingJelly's neurons.

Read: the paper's abstract (Zhou et al., arXiv 2401.02020): spiking self-attention without a softmax behind a
spiking convolutional stem with supplementary convolutions; 8 layers at 4 time steps, and a 16-layer network
of 172 million parameters. Our reading of the rest: a stage of the stem halves the picture by a convolution of
2 x 2 and then widens each place to four times its channels and back, by convolutions of 3 x 3 with a
shortcut; four stages, of an eighth, a quarter, half and all of the width; batch norm and a LIF neuron of
tau 2 behind each convolution; encoder blocks as in Spikformer. So read, 16 layers of width 768 have 172.3
million parameters; by a convolution of 3 x 3 at the halving they would have 174.2.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn

WIDENED = 4
SCALE = 0.125


def _spiking(threshold: float = 1.0) -> nn.Module:
    node: nn.Module = neuron.LIFNode(tau=2.0, v_threshold=threshold, detach_reset=True, step_mode="m")
    return node


class Unit(nn.Module):
    """Convolution, batch norm, neurons, on [T, B, channels, height, width]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        padding = (kernel - 1) // 2
        self.conv = layer.Conv2d(inputs, outputs, kernel, stride, padding, bias=False, step_mode="m")
        self.norm = layer.BatchNorm2d(outputs, step_mode="m")
        self.lif = _spiking()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes."""
        spikes: Tensor = self.lif(self.norm(self.conv(x)))
        return spikes


class Stage(nn.Module):
    """Half the height and width; then each place widened and narrowed, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.halve = Unit(inputs, outputs, 2, 2)
        self.widen, self.narrow = Unit(outputs, WIDENED * outputs, 3), Unit(WIDENED * outputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Sums of spikes."""
        spikes = self.halve(x)
        summed: Tensor = spikes + self.narrow(self.widen(spikes))
        return summed


class Tokens(nn.Module):
    """A linear map of each token, batch norm, neurons, on [T, B, channels, tokens]."""

    def __init__(self, inputs: int, outputs: int, bias: bool, threshold: float = 1.0) -> None:
        super().__init__()
        self.conv = layer.Conv1d(inputs, outputs, 1, bias=bias, step_mode="m")
        self.norm = layer.BatchNorm1d(outputs, step_mode="m")
        self.lif = _spiking(threshold)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes."""
        spikes: Tensor = self.lif(self.norm(self.conv(x)))
        return spikes


class Block(nn.Module):
    """Spiking self-attention and two maps of each token, spikes added to spikes."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (Tokens(width, width, False) for _ in range(3))
        self.attn_lif, self.proj = _spiking(0.5), Tokens(width, width, True)
        self.first, self.second = Tokens(width, 4 * width, True), Tokens(4 * width, width, True)

    def forward(self, x: Tensor) -> Tensor:
        """Sums of spikes [T, B, width, tokens]."""
        q, k, v = (f(x).unflatten(2, (self.heads, -1)).transpose(-2, -1) for f in (self.q, self.k, self.v))
        read = (q @ (k.transpose(-2, -1) @ v)) * SCALE
        spikes = self.attn_lif(read.transpose(-2, -1).flatten(2, 3))
        x = x + self.proj(spikes)
        mixed: Tensor = x + self.second(self.first(x))
        return mixed


class SpikformerV2(nn.Module):
    """Pictures [B, 3, height, width] to numbers for each class, the same picture at each time step."""

    def __init__(self, layers: int, width: int, heads: int, classes: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        widths = (3, width // 8, width // 4, width // 2, width)
        self.stem = nn.Sequential(*(Stage(a, b) for a, b in pairwise(widths)))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes]."""
        x = self.stem(x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1))
        features = self.blocks(x.flatten(3)).mean(3)
        logits: Tensor = self.head(features.mean(0))
        return logits


def build(
    layers: int = 8, width: int = 384, heads: int = 8, classes: int = 1000, steps: int = 4
) -> nn.Module:
    """Spikformer V2 of so many blocks."""
    torch.manual_seed(0)
    return SpikformerV2(layers, width, heads, classes, steps)
