"""Models as users have them elsewhere: what the capture script is pointed at."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import layer, neuron, surrogate
from torch import Tensor, nn

INPUT_SHAPE = ("T", "B", 2, 8, 8)


class Stairs(nn.Module):
    """A graded neuron without a memory, as quantizers are written."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y[y < 0] = 0.0
        return torch.round(torch.clamp(y, 0, 4)) / 4


class Mixed(nn.Module):
    """Attention over 16 tokens, with a neuron of each kind, a computed weight, and calls in place."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            layer.Conv2d(2, width, 3, stride=2, padding=1, bias=False, step_mode="m"),
            layer.BatchNorm2d(width, step_mode="m"),
            neuron.ParametricLIFNode(init_tau=2.0, v_threshold=0.3, step_mode="m"),
        )
        self.qkv = nn.Linear(width, 3 * width)
        self.spike = nn.ModuleList(
            [neuron.LIFNode(tau=2.0, v_threshold=0.2, v_reset=None, step_mode="m"),
             neuron.IFNode(v_threshold=0.4, step_mode="m"),
             neuron.LIFNode(tau=4.0, v_threshold=0.1, step_mode="m")]
        )  # fmt: skip
        self.after = neuron.LIFNode(tau=2.0, v_threshold=0.2, step_mode="m")
        self.stairs = Stairs()
        self.raw = nn.Parameter(torch.randn(5, width))

    def forward(self, x: Tensor) -> Tensor:
        steps, batch = x.shape[:2]
        tokens = self.embed(x).flatten(-2).transpose(-1, -2)
        parts = self.qkv(tokens.reshape(steps * batch, 16, -1)).view(steps, batch, 16, -1).chunk(3, dim=-1)
        q, k, v = (fire(part.contiguous()) for fire, part in zip(self.spike, parts, strict=True))
        y = self.after(q @ (k.transpose(-2, -1) @ v) * 0.25)
        y += tokens
        weight = self.raw / self.raw.abs().max()  # computed from a parameter: constant where it is recorded
        scores: Tensor = self.stairs(y).mean(2) @ weight.t()
        return scores


class Looping(nn.Module):
    """Calls its layers once for each time step."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3, stride=2, padding=1)
        self.fire = neuron.LIFNode(tau=2.0, v_threshold=0.2, step_mode="s")
        self.head = nn.Linear(96, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.head(self.fire(self.conv(frame)).flatten(1)) for frame in x]).mean(0)


class Repeating(nn.Module):
    """Takes pictures, and repeats them over four steps of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3, stride=2, padding=1)
        self.fire = neuron.LIFNode(tau=2.0, v_threshold=0.2, step_mode="m")
        self.head = nn.Linear(96, 4)

    def forward(self, x: Tensor) -> Tensor:
        current = self.conv(x).unsqueeze(0).repeat(4, 1, 1, 1, 1)
        y: Tensor = self.head(self.fire(current).flatten(2)).mean(0)
        return y


class LIFNode(neuron.LIFNode):  # type: ignore[misc]
    """Has the name of a known neuron, and fires at another threshold."""

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        v, sent = torch.zeros_like(x_seq[0]), []
        for x in x_seq:
            v = v + (1.2 * x - v) / self.tau
            sent.append((v >= self.v_threshold).to(x))
            v = (1.0 - sent[-1]) * v
        return torch.stack(sent)


class Reading(nn.Module):
    """Its path depends on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.fire = neuron.LIFNode(step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fire(x if x.sum().item() > 0 else -x)
        return y


def _seeded(build: Any, **keywords: Any) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = build(**keywords)
    return model.eval()


def mixed(width: int = 8) -> nn.Module:
    return _seeded(Mixed, width=width)


def looping() -> nn.Module:
    return _seeded(Looping)


def repeating() -> nn.Module:
    return _seeded(Repeating)


def reading() -> nn.Module:
    return _seeded(Reading)


def impostor() -> nn.Module:
    fire = LIFNode(tau=2.0, v_threshold=0.3, surrogate_function=surrogate.ATan(), step_mode="m")
    return nn.Sequential(layer.Linear(8, 4, step_mode="m"), fire).eval()
