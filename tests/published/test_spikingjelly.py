"""SpikingJelly 2.0.0's own spiking transformers, unmodified, at reduced depth."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.model import (
    maxformer,
    qkformer,
    spike_driven_transformer,
    spikformer,
)
from torch import nn

from spikeloom.compiler.frontends.torch.axes import InputShape
from tests.published.calibrated import compiled, row_of

PICTURES = "B,3,64,64"
MODELS: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "spikformer": (
        lambda: spikformer.Spikformer(4, 3, 64, 64, 16, 10, embed_dims=64, num_heads=2, depths=1),
        "T,B,3,64,64",
        4,
    ),
    "spikformer_cifar10": (
        lambda: spikformer.Spikformer(4, 3, 32, 32, 4, 10, embed_dims=64, num_heads=2, depths=1),
        "T,B,3,32,32",
        4,
    ),
    "spike_driven_transformer": (
        lambda: spike_driven_transformer.SpikeDrivenTransformer(4, 3, 10, 64, 2, depths=1),
        PICTURES,
        4,
    ),
    "qkformer": (lambda: qkformer.QKFormer(4, 3, 10, 64, (1, 2, 2), (1, 1, 1)), PICTURES, 4),
    "maxformer": (lambda: maxformer.MaxFormer(4, 3, 10, 64, (1, 1, 1)), PICTURES, 4),
    "maxformer_cifar": (
        lambda: maxformer.MaxFormer(4, 3, 10, 64, (1, 1, 1), cifar=True),
        "B,3,32,32",
        4,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_they_compile_and_run_exactly(name: str) -> None:
    torch.manual_seed(0)
    build, shape, steps = MODELS[name]
    model = build()
    functional.set_step_mode(model, "m")
    row = row_of(model, compiled(model, InputShape.parse(shape), steps))
    assert row.proved > 0
    assert row.layers == len(row.rates)
    assert min(row.rates.values()) > 0
    assert row.mismatches == 0
    assert row.compared >= row.decisions > 0
    assert row.flips < 0.02 * row.decisions
