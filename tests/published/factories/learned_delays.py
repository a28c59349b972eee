"""SNN-delays from a clone of its repository, as its training script builds it; needs DCLS."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import torch
from torch import nn


def build(inputs: int = 140, hidden: int = 256, delay: int = 25) -> nn.Module:
    """The network of the configuration for Heidelberg digits, its delays rounded as before a test."""
    for name in ("wandb", "datasets"):  # of the training
        sys.modules.setdefault(name, ModuleType(name))
    sys.modules["datasets"].Augs = object  # type: ignore[attr-defined]
    configuration = importlib.import_module("best_config_SHD")
    sys.modules["config"] = configuration
    config: Any = configuration.Config()
    config.n_inputs, config.n_hidden_neurons, config.max_delay = inputs, hidden, delay
    config.left_padding, config.right_padding = delay - 1, (delay - 1) // 2
    config.sigInit, config.init_pos_a, config.init_pos_b = 0.0, -delay // 2, delay // 2
    model: nn.Module = importlib.import_module("snn_delays").SnnDelays(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 4:  # positions: whole steps, as after the training
                parameter.round_()
    return model
