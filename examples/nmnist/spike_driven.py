"""SpikingJelly's own Spike-driven Transformer (V1), unmodified, for N-MNIST: 25 tokens, 2 blocks, 4 heads.

Its residual path carries membranes, not spikes, and its attention is masks and column sums (SDSA).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spikingjelly.activation_based.model.spike_driven_transformer import SpikeDrivenTransformer

INPUT_SHAPE = ("T", "B", 2, 34, 34)  # time, batch, polarity (off, on), height, width

CONFIG: dict[str, Any] = {
    "T": 5,
    "in_channels": 2,
    "num_classes": 10,
    "embed_dims": 64,
    "num_heads": 4,
    "depths": 2,
    "mlp_ratio": 2.0,
    "pooling_stat": "1110",  # 34 -> 17 -> 9 -> 5: 5 x 5 tokens
}


def build(config: Mapping[str, Any] | None = None) -> SpikeDrivenTransformer:
    """The network, untrained: frames [T, B, 2, 34, 34] to class scores [B, 10].

    Args:
        config: what differs from :data:`CONFIG`. Keys that are no keyword of the network are left
            alone.
    """
    given = {key: value for key, value in (config or {}).items() if key in CONFIG}
    return SpikeDrivenTransformer(**{**CONFIG, **given})
