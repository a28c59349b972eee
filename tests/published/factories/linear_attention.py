"""SpikMamba's spiking linear attention from a clone of its repository, as its own example builds it."""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor, nn


class AnyBatch(nn.Module):
    """The network with its number of samples, which it takes from its constructor, set for each batch."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] for frames [B, T, channels, height, width]."""
        self.network.batch_size = len(x)
        logits: Tensor = self.network(x.transpose(1, 2))
        return logits


def build(frames: int = 16) -> nn.Module:
    """The configuration of the repository; its batch norms over tokens fix the width and the size."""
    code = importlib.import_module("model_spikamamb_sla_16frame")
    network = code.Spikformer(
        img_size_h=128,
        img_size_w=128,
        patch_size=4,
        in_channels=3,
        num_classes=32,
        embed_dims=256,
        num_heads=8,
        mlp_ratios=4,
        qkv_bias=True,
        depths=12,
        sr_ratios=1,
        num_frames=frames,
    )
    return AnyBatch(network)
