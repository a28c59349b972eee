"""A small transformer of the kind of Meta-SpikeFormer (Spike-driven Transformer V2), for N-MNIST.

Two convolution stages and two attention blocks of 4 heads on 25 tokens. As in M. Yao et al., *Spike-driven
Transformer V2: Meta Spiking Neural Network Architecture*, ICLR 2024: separable convolutions, downsampling
between stages, attention q (k' v) whose projections are convolutions in a row, and a residual path that
carries membranes. Widths and depths are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn

INPUT_SHAPE = ("T", "B", 2, 34, 34)  # time, batch, polarity (off, on), height, width

CONFIG: dict[str, Any] = {
    "in_channels": 2,
    "num_classes": 10,
    "widths": (16, 32, 64),
    "heads": 4,
    "blocks": 2,
}


def build(config: Mapping[str, Any] | None = None) -> MetaSpikeformer:
    """The network, untrained: frames [T, B, 2, 34, 34] to class scores [T, B, 10], one for each time step.

    Args:
        config: what differs from :data:`CONFIG`. Keys that are no keyword of the network are left
            alone.
    """
    given = {key: value for key, value in (config or {}).items() if key in CONFIG}
    return MetaSpikeformer(**{**CONFIG, **given})


def lif(threshold: float = 1.0) -> neuron.LIFNode:
    """tau 2, hard reset, over all time steps at once."""
    return neuron.LIFNode(tau=2.0, v_threshold=threshold, detach_reset=True, step_mode="m")


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> layer.Conv2d:
    """A convolution without bias that keeps the size, up to the stride."""
    return layer.Conv2d(
        inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False, step_mode="m"
    )


def norm(channels: int) -> layer.BatchNorm2d:
    """Batch norm over all time steps."""
    return layer.BatchNorm2d(channels, step_mode="m")


class ConvBlock(nn.Module):
    """A separable convolution and two convolutions, each added to the membranes that come in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.separable = nn.Sequential(
            lif(), conv(width, 2 * width), norm(2 * width),
            lif(), conv(2 * width, 2 * width, 3, groups=2 * width), conv(2 * width, width), norm(width),
        )  # fmt: skip
        self.mixing = nn.Sequential(
            lif(), conv(width, 2 * width, 3), norm(2 * width), lif(), conv(2 * width, width, 3), norm(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Membranes [T, B, C, H, W] to membranes."""
        x = x + self.separable(x)
        mixed: Tensor = x + self.mixing(x)
        return mixed


class Attention(nn.Module):
    """q (k' v), without a softmax; each projection is three convolutions in a row."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, 0.125
        self.first = lif()
        self.q, self.k, self.v = (nn.Sequential(*self.projection(width), lif()) for _ in range(3))
        self.fire = lif(0.5)
        self.out = nn.Sequential(*self.projection(width))

    @staticmethod
    def projection(width: int) -> tuple[nn.Module, ...]:
        """1 x 1, depthwise 3 x 3, 1 x 1, with nothing between."""
        return (conv(width, width), conv(width, width, 3, groups=width), conv(width, width), norm(width))

    def forward(self, x: Tensor) -> Tensor:
        """Membranes [T, B, C, H, W] to membranes."""
        steps, batch, width, height, breadth = x.shape
        spikes = self.first(x)
        q, k, v = (
            one(spikes).reshape(steps, batch, self.heads, width // self.heads, height * breadth)
            for one in (self.q, self.k, self.v)
        )
        mixed = (v @ k.transpose(-2, -1)) @ q * self.scale
        fired = self.fire(mixed.reshape(steps, batch, width, height, breadth))
        projected: Tensor = self.out(fired)
        return projected


class Block(nn.Module):
    """Attention and two maps, each added to the membranes that come in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(
            lif(), conv(width, 2 * width), norm(2 * width), lif(), conv(2 * width, width), norm(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Membranes [T, B, C, H, W] to membranes."""
        x = x + self.attention(x)
        mapped: Tensor = x + self.mlp(x)
        return mapped


class MetaSpikeformer(nn.Module):
    """Frames [T, B, 2, 34, 34] to class scores [T, B, classes].

    Args:
        in_channels: of a frame.
        num_classes: of the answer.
        widths: channels of the three stages, of 17 x 17, 9 x 9 and 5 x 5 positions.
        heads: of attention.
        blocks: attention blocks of the last stage.
    """

    def __init__(
        self, in_channels: int, num_classes: int, widths: tuple[int, int, int], heads: int, blocks: int
    ) -> None:
        super().__init__()
        first, second, third = widths
        self.first = nn.Sequential(conv(in_channels, first, 3, 2), norm(first), ConvBlock(first))
        self.second = nn.Sequential(lif(), conv(first, second, 3, 2), norm(second), ConvBlock(second))
        self.third = nn.Sequential(lif(), conv(second, third, 3, 2), norm(third))
        self.blocks = nn.Sequential(*(Block(third, heads) for _ in range(blocks)))
        self.last = lif()
        self.head = layer.Linear(third, num_classes, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of each time step; the answer is their mean's largest."""
        x = self.blocks(self.third(self.second(self.first(x))))
        spikes = self.last(x)
        scores: Tensor = self.head(spikes.flatten(3).mean(3))
        return scores
