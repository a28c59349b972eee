"""Spiking networks as ONNX files, as PyTorch writes them: one step with its states, or all steps unrolled."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

STEPS, SAMPLES = 4, 3


class Lif(nn.Module):
    """v <- v + (x - v) / 2 ; a spike from the threshold on ; a reset to zero or by the threshold."""

    def __init__(self, threshold: float = 0.5, soft: bool = False) -> None:
        super().__init__()
        self.threshold, self.soft = threshold, soft
        self.v: Tensor | float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        v = self.v + (x - self.v) / 2.0
        spikes = (v >= self.threshold).to(x)
        self.v = v - spikes * self.threshold if self.soft else v * (1.0 - spikes)
        return spikes


class Attention(nn.Module):
    """Of spikes, without a softmax, over the positions of a picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(channels, channels) for _ in range(3))
        self.fire = nn.ModuleList(Lif(0.1) for _ in range(3))
        self.after = Lif(0.05, soft=True)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (fire(part(x)) for fire, part in zip(self.fire, (self.q, self.k, self.v), strict=True))
        y: Tensor = self.after(q @ (k.transpose(-2, -1) @ v) * 0.125)
        return y


class Network(nn.Module):
    """Convolution, pooling, attention over 16 tokens, a readout that fires."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), Lif(0.2), nn.MaxPool2d(2)
        )
        self.attention = Attention(8)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(128, 5), Lif(0.1))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        y: Tensor = self.head(tokens + self.attention(tokens))
        return y

    @property
    def neurons(self) -> list[Lif]:
        return [module for module in self.modules() if isinstance(module, Lif)]


class Unrolled(nn.Module):
    """All steps of a sample in one graph: frames [T, B, 2, 8, 8] to answers."""

    def __init__(self, network: Network, how: str) -> None:
        super().__init__()
        self.network, self.how = network, how

    def forward(self, x: Tensor) -> Tensor:
        for neuron in self.network.neurons:
            neuron.v = 0.0
        out = [self.network(x[t]) for t in range(STEPS)]
        if self.how == "sum":
            y: Tensor = out[0] + out[1] + out[2] + out[3]
            return y
        stacked = torch.stack(out)
        return stacked.mean(0) if self.how == "mean" else stacked


class Step(nn.Module):
    """One step: a frame and the potentials to an answer and the potentials after it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *potentials: Tensor) -> tuple[Tensor, ...]:
        for neuron, v in zip(self.network.neurons, potentials, strict=True):
            neuron.v = v
        return self.network(x), *(torch.as_tensor(neuron.v) for neuron in self.network.neurons)


def frames(samples: int = SAMPLES) -> Tensor:
    """Spikes [T, B, 2, 8, 8]."""
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(STEPS, samples, 2, 8, 8, generator=generator) < 0.3).float()


def export_unrolled(path: Path, how: str) -> None:
    """``how``: stack, mean or sum."""
    _export(Unrolled(Network().eval(), how), (frames(),), path, ["x"], ["y"])


def export_step(path: Path, endings: tuple[str, str] = ("", "_next")) -> None:
    """States are called v0, v1, ..., with an ending before and after the step."""
    network = Network().eval()
    for neuron in network.neurons:
        neuron.v = 0.0
    network(frames()[0])
    resting = [torch.zeros_like(torch.as_tensor(neuron.v)) for neuron in network.neurons]
    before, after = ([f"v{n}{ending}" for n in range(len(resting))] for ending in endings)
    _export(Step(network), (frames()[0], *resting), path, ["x", *before], ["y", *after])


def _export(
    model: nn.Module, inputs: tuple[Tensor, ...], path: Path, names: list[str], outputs: list[str]
) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, inputs, path, dynamo=False, input_names=names, output_names=outputs)
