"""What is in a checkpoint: names, shapes and types of its tensors, without running code or a model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

from safetensors import safe_open

from spikeloom.compiler.frontends.torch.checkpoint import read_checkpoint
from spikeloom.errors import InputError

SIGNATURES: tuple[tuple[str, str], ...] = (
    (r"\.alpha$", "QSD-Transformer (weights with learned steps)"),
    (r"^downsample\d_\d\.encode_conv", "Spike-driven Transformer V2 or V3"),
    (r"talking_heads", "Spike-driven Transformer"),
    (r"^patch_embed\d\.(max_)?embed\d\.", "Max-Former"),
    (r"^patch_embed\d\.proj_conv", "QKFormer"),
    (r"^prologue\.0\.weight$", "SpikingResformer"),
    (r"\.time_mix_[krv]$", "SpikeGPT"),
    (r"\.gk_proj\.", "SpikingBrain"),
    (r"\.attn\.lepe\.", "SpikMamba"),
    (r"\.fft_H$", "LMUFormer"),
    (r"\.tsmp$", "Spiking Diffusion U-Net"),
    (r"\.SIG$", "SNN-delays"),
    (r"^patch_embed\.(proj_conv|stages\.0)", "Spikformer or Spikingformer"),
)
"""Patterns of names that only one family of models has, and the family; the first that is found counts."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def read_contents(path: Path) -> list[Entry]:
    """The tensors of a ``.safetensors`` file or PyTorch checkpoint, in the order of the file.

    Raises:
        InputError: SL0202, the file is missing or damaged, or holds code.
    """
    if path.suffix != ".safetensors":
        tensors = read_checkpoint(path).tensors
        kinds = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}
        return [Entry(name, kinds[name], tuple(tensor.shape)) for name, tensor in tensors.items()]
    if not path.is_file():
        raise InputError.of("SL0202", path, "there is no such file")
    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return [Entry(name, s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()]
    except Exception as error:  # a damaged file makes the reader raise nearly anything
        raise InputError.of("SL0202", path, f"cannot be read as a checkpoint: {error}") from error


def guess_family(entries: Iterable[Entry]) -> str:
    """The family of models that such names belong to; "" if none is known.

    >>> guess_family([Entry("block.0.attn.talking_heads.weight", "float32", (8, 8, 1, 1))])
    'Spike-driven Transformer'
    """
    names = [entry.name for entry in entries]
    for pattern, family in SIGNATURES:
        if any(re.search(pattern, name) for name in names):
            return family
    return ""
