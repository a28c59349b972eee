"""SpikingJelly's own Spikformer, unmodified, for N-MNIST: 95,882 parameters, 9 tokens, 5 time steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spikingjelly.activation_based.model.spikformer import Spikformer

INPUT_SHAPE = ("T", "B", 2, 34, 34)  # time, batch, polarity (off, on), height, width

CONFIG: dict[str, Any] = {
    "T": 5,
    "in_channels": 2,
    "img_size_h": 34,
    "img_size_w": 34,
    "patch_size": 16,
    "num_classes": 10,
    "embed_dims": 64,
    "num_heads": 4,
    "mlp_ratio": 2.0,
    "depths": 1,
}


def build(config: Mapping[str, Any] | None = None) -> Spikformer:
    """The network, untrained: frames [T, B, 2, 34, 34] to class scores [T, B, 10], one for each time step.

    Its answer is the class with the largest score, averaged over time.

    Args:
        config: what differs from :data:`CONFIG`. Keys that are no keyword of the network are left
            alone, since a checkpoint's ``config`` may also say how the frames were made.
    """
    given = {key: value for key, value in (config or {}).items() if key in CONFIG}
    return Spikformer(**{**CONFIG, **given})
