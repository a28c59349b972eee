"""SpikingJelly's own QKFormer, unmodified, for N-MNIST: stages of 81, 25 and 9 tokens, 4 heads each.

The first two stages have QK attention by tokens, the third has spiking self-attention. Its residual
path adds spikes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spikingjelly.activation_based.model.qkformer import QKFormer

INPUT_SHAPE = ("T", "B", 2, 34, 34)  # time, batch, polarity (off, on), height, width

CONFIG: dict[str, Any] = {
    "T": 5,
    "in_channels": 2,
    "num_classes": 10,
    "embed_dims": 64,
    "num_heads": (4, 4, 4),
    "depths": (1, 1, 1),
    "mlp_ratio": 2.0,
}


def build(config: Mapping[str, Any] | None = None) -> QKFormer:
    """The network, untrained: frames [T, B, 2, 34, 34] to class scores [B, 10].

    Args:
        config: what differs from :data:`CONFIG`. Keys that are no keyword of the network are left
            alone.
    """
    given = {key: value for key, value in (config or {}).items() if key in CONFIG}
    return QKFormer(**{**CONFIG, **given})
