"""The recurrence of RWKV on a processor, in the place of its authors' CUDA kernel.

Files of RWKV and SpikeGPT compile a kernel as they are imported, and call it through a function
``RUN_CUDA(B, T, C, w, u, k, v)``. :func:`without_cuda` lets them import, and gives it this meaning.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import cpp_extension

from spikeloom.compiler.graph.ops.weighted_key_value import EMPTY

State = tuple[Tensor, Tensor, Tensor]


def start_key_value(k: Tensor) -> State:
    """Nothing, with no weight."""
    return torch.zeros_like(k), torch.zeros_like(k), torch.full_like(k, EMPTY)


def step_key_value(decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, state: State) -> tuple[Tensor, State]:
    """One step of the recurrence of :class:`WeightedKeyValue`: the mean [..., n], and the state."""
    aa, bb, p = state
    top = torch.maximum(p, k + bonus)
    old, new = torch.exp(p - top), torch.exp(k + bonus - top)
    mean = (old * aa + new * v) / (old * bb + new)
    faded = p + decay
    top = torch.maximum(faded, k)
    old, new = torch.exp(faded - top), torch.exp(k - top)
    return mean, (old * aa + new * v, old * bb + new, top)


@torch.library.custom_op("spikeloom::key_value", mutates_args=())
def key_value(decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The means [B, T, n] of values weighted by keys [B, T, n]; ``decay`` is below 0."""
    state, means = start_key_value(k[:, 0]), []
    for step in range(k.shape[1]):
        mean, state = step_key_value(decay, bonus, k[:, step], v[:, step], state)
        means.append(mean)
    return torch.stack(means, 1)


@key_value.register_fake
def _(decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.empty_like(k)


def run_cuda(b: int, t: int, c: int, w: Tensor, u: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """What the authors' function computes: the decay is -exp(w)."""
    means: Tensor = key_value(-torch.exp(w.float()), u.float(), k.float(), v.float())
    return means


@contextmanager
def without_cuda() -> Iterator[None]:
    """While this is open, files import whose CUDA kernels cannot be compiled, and scripted modules are plain.

    At its end ``RUN_CUDA`` of every file that asked for a kernel is :func:`run_cuda`.
    """
    asked: list[dict[str, Any]] = []

    def load(*_: Any, **__: Any) -> None:
        asked.append(sys._getframe(1).f_globals)

    jit: Any = torch.jit
    extension: Any = cpp_extension
    kept = (extension.load, jit.ScriptModule, jit.script_method)
    plain = type("ScriptModule", (nn.Module,), {})  # no class of others is one, which PyTorch asks
    extension.load, jit.ScriptModule, jit.script_method = load, plain, lambda function: function
    try:
        yield
    finally:
        extension.load, jit.ScriptModule, jit.script_method = kept
        for names in asked:
            if "RUN_CUDA" in names:
                names["RUN_CUDA"] = run_cuda
