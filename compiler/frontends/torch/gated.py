"""Gated linear attention on a processor: the recurrence that kernels of GPU packages compute.

Files that import ``fla`` (flash-linear-attention) or ``mamba_ssm`` call kernels of Triton or CUDA. What is
stood in for them (:mod:`spikeloom.compiler.frontends.torch.legacy`) calls :func:`gated_state`, one step after
the other; models of one's own may call it as well.
"""

from __future__ import annotations

import torch
from torch import Tensor


def outer_product(k: Tensor, v: Tensor) -> Tensor:
    """Keys [..., K] times values [..., V]: [..., K, V]."""
    return k.unsqueeze(-1) * v.unsqueeze(-2)


def fade(gate: Tensor, state: Tensor, x: Tensor) -> Tensor:
    """One step of :class:`~spikeloom.compiler.graph.ops.gated_state.GatedState`."""
    return (gate * state + x).contiguous()


def read_state(q: Tensor, state: Tensor) -> Tensor:
    """Queries [..., K] times states [..., K, V]: [..., V]."""
    return (q.unsqueeze(-2) @ state).squeeze(-2)


@torch.library.custom_op("spikeloom::gated_state", mutates_args=())
def gated_state(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
    """S <- gate * S + k v' ;  o = q S, along the axis of time of all four.

    Args:
        q: queries [B, heads, T, K].
        k: keys [B, heads, T, K].
        v: values [B, heads, T, V].
        gate: what is left of the state after a step, by key [B, heads, T, K] (or [B, heads, T, 1] for a
            whole head), or by key and value [B, heads, T, K, V].

    Returns:
        [B, heads, T, V].

    >>> q = k = torch.ones(1, 1, 3, 1)
    >>> gated_state(q, k, torch.tensor([[[[4.0], [2.0], [1.0]]]]), 0.5 * k).flatten().tolist()
    [4.0, 4.0, 3.0]
    """
    factor = gate if gate.ndim == v.ndim + 1 else gate.unsqueeze(-1)
    state = torch.zeros(*k.shape[:2], k.shape[-1], v.shape[-1])
    outputs = []
    for step in range(q.shape[2]):
        now, key, value = (x[:, :, step].contiguous() for x in (q, k, v))
        wide = factor[:, :, step].expand_as(state)
        state = fade(wide, state, outer_product(key, value))
        outputs.append(read_state(now, state))
    return torch.stack(outputs, 2)


@gated_state.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
    return torch.empty_like(v)
