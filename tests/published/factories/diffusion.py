"""Spiking Diffusion's denoising U-Net from a clone of its repository, at one step of the diffusion."""

from __future__ import annotations

import importlib

import torch
from torch import Tensor, nn

DIFFUSION_STEPS, STEP = 1000, 500


class AtOneStep(nn.Module):
    """The U-Net asked for the noise of a picture at a fixed step."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor) -> Tensor:
        """The noise of pictures [B, channels, height, width]."""
        steps = torch.full((len(x),), STEP)
        noise: Tensor = self.unet(x, steps)
        return noise


def build(
    channels: int = 128, widths: tuple[int, ...] = (1, 2, 2, 4), blocks: int = 2, steps: int = 4
) -> nn.Module:
    """The configuration of the repository's own example, for pictures of three channels."""
    unet = importlib.import_module("TSM").Spk_UNet_TSM(
        T=DIFFUSION_STEPS,
        ch=channels,
        ch_mult=list(widths),
        attn=[8],
        num_res_blocks=blocks,
        dropout=0.1,
        timestep=steps,
    )
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if name.endswith("tsmp"):  # learned; ones before the training
                parameter.copy_(0.8 + 0.4 * torch.rand(parameter.shape))
    return AtOneStep(unet)
