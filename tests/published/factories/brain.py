"""SpikingBrain's W8ASpike model from a clone of its repository, tiny, on a processor.

Its kernels for a GPU (Triton's in ``fla`` and ``activations.py``, ``flash_attn``) and the parts of
``transformers`` that it is built on are stood in for by their equations; its own files are as they are.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUP = 128
"""Weights that share a step, upstream."""


class _Config:
    """What every configuration of ``transformers`` has, as far as the model asks."""

    def __init__(self, **keywords: Any) -> None:
        self.use_return_dict, self.output_attentions, self.output_hidden_states = True, False, False
        vars(self).update(keywords)


class _Model(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def post_init(self) -> None:
        """Weights stay as their layers made them."""


def _split_heads(x: Tensor, pattern: str, h: int = 0) -> Tensor:
    """The two rearrangements of ``einops`` that the model uses."""
    if pattern == "b l (h d) -> b h l d":
        apart: Tensor = x.unflatten(-1, (h, -1))  # type: ignore[no-untyped-call]
        return apart.transpose(1, 2)
    assert pattern == "b h l d -> b l (h d)"
    return x.transpose(1, 2).flatten(2)


def _attend(q: Tensor, k: Tensor, v: Tensor, softmax_scale: float, window_size: Any, **_: Any) -> Tensor:
    """Attention [B, T, heads, features] to the token itself and ``window_size[0]`` before it."""
    steps = q.shape[1]
    distance = torch.arange(steps)[:, None] - torch.arange(steps)
    seen = (distance >= 0) & (distance <= window_size[0])
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    y = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=softmax_scale)
    return y.transpose(1, 2)


def _swiglu(gate: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return functional.linear(functional.silu(gate) * x, weight, bias)


@contextmanager
def _stood_in() -> Iterator[None]:
    """While this is open, the equations are where the model's files import from."""
    provided: dict[str, dict[str, Any]] = {
        "einops": {"rearrange": _split_heads},
        "transformers": {},
        "transformers.activations": {"ACT2FN": {"relu": torch.relu, "swish": functional.silu}},
        "transformers.cache_utils": {"Cache": type("Cache", (), {})},
        "transformers.configuration_utils": {"PretrainedConfig": _Config},
        "transformers.modeling_flash_attention_utils": {
            "_upad_input": lambda q, k, v, mask, n: (q, k, v, None, (None, None), (None, None))
        },
        "transformers.modeling_outputs": dict.fromkeys(
            ("BaseModelOutputWithPast", "CausalLMOutputWithPast"), SimpleNamespace
        ),
        "transformers.modeling_utils": {"PreTrainedModel": _Model},
        "transformers.utils": {
            "is_flash_attn_2_available": lambda: True,
            "logging": SimpleNamespace(get_logger=logging.getLogger),
        },
        "flash_attn": {},
        "flash_attn.flash_attn_interface": {"flash_attn_varlen_func": _attend, "flash_attn_func": _attend},
        "flash_attn.bert_padding": {"pad_input": lambda x, indices, batch, length: x},
        "W8ASpike.activations": {"swiglu_linear": _swiglu},
    }
    before = {name: sys.modules.get(name) for name in provided}
    for name, names in provided.items():
        module = ModuleType(name)
        vars(module).update(names)
        sys.modules[name] = module
        package, _, child = name.rpartition(".")
        if package in provided:
            setattr(sys.modules[package], child, module)
    try:
        yield
    finally:
        for name, module_before in before.items():
            if module_before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module_before


class NextTokens(nn.Module):
    """The model asked for logits only."""

    def __init__(self, brain: Any) -> None:
        super().__init__()
        self.brain = brain

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, tokens] of the next token, for tokens [B, T]."""
        logits: Tensor = self.brain(input_ids=tokens.long(), use_cache=False, return_dict=False)[0]
        return logits


def build(
    layers: int,
    heads: int,
    keys: int,
    window: int,
    width: int = GROUP,
    tokens: int = 256,
    spread: bool = False,
) -> nn.Module:
    """Blocks of gated linear attention and of softmax in turn.

    Args:
        layers: how many.
        heads: of queries.
        keys: heads of keys and values.
        window: tokens before its own to which a token attends.
        width: of a token.
        tokens: how many there are.
        spread: whether counts go through the authors' own coder of bits and back, as upstream.
    """
    with _stood_in():
        code = importlib.import_module("W8ASpike.modeling_gla_swa")
        counting: Any = importlib.import_module("W8ASpike.quant_linear")
    counting.spike_is_available = spread
    config = code.GLAswaConfig(
        vocab_size=tokens,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        intermediate_size=2 * width,
        sliding_window=window,
        rope_theta=10000.0,
        attn_mode="chunk",
    )
    brain = code.GLAswaForCausalLM(config)
    with torch.no_grad():
        for module in brain.modules():
            if isinstance(module, counting.QuantLinear):  # steps of 8-bit weights, ones before the training
                grouped = module.weight.unflatten(-1, (-1, GROUP))
                module.weight_quantizer.scales.copy_(grouped.abs().amax(-1, keepdim=True) / 127)
                module.weight.mul_(4)
                module.weight_quantizer.scales.mul_(4)
    return NextTokens(brain.eval())
