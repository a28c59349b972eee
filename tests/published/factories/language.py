"""SpikeGPT from a clone of its repository: token after token, from the spikes of embeddings to logits."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn


class Logits(nn.Module):
    """What the authors' forward computes before the loss that it returns."""

    def __init__(self, gpt: Any) -> None:
        super().__init__()
        self.gpt = gpt

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, tokens] of the next token, for tokens [B, T]."""
        gpt = self.gpt
        x = gpt.atan(gpt.emb(tokens.long()))
        logits: Tensor = gpt.head(gpt.ln_out(gpt.blocks(x)))
        return logits


def build(tokens: int = 50277, width: int = 768, layers: int = 18, context: int = 1024) -> nn.Module:
    """SpikeGPT of the size of its 216M checkpoint."""
    code = importlib.import_module("src.model")
    config = code.GPTConfig(tokens, context, model_type="RWKV", n_layer=layers, n_embd=width)
    gpt = code.GPT(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # the authors' own initialisation leaves the keys at zero
        for name, weight in gpt.named_parameters():
            if weight.ndim == 2:
                scale = 1.0 if name.startswith("emb") else 3 * weight.shape[1] ** -0.5
                weight.copy_(scale * torch.randn(weight.shape, generator=generator))
    return Logits(gpt)
