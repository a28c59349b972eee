"""Functions with the names of ``spikingjelly.clock_driven.functional``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def reset_net(net: nn.Module) -> None:
    """Reset every module that has a ``reset``."""
    for module in net.modules():
        reset = getattr(module, "reset", None)
        if callable(reset):
            reset()


def seq_to_ann_forward(x_seq: Tensor, stateless_module: Any) -> Tensor:
    """Run layers without state on [T, B, ...] with T and B folded."""
    layers = stateless_module if isinstance(stateless_module, (list, tuple)) else [stateless_module]
    y = x_seq.flatten(0, 1)
    for layer in layers:
        y = layer(y)
    return y.reshape(*x_seq.shape[:2], *y.shape[1:])
