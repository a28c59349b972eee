"""Spiking networks in PyTorch that stand for trained ones: small, random, and firing.

Upstream models at random initialisation are mostly silent, and a silent network proves nothing.
Here batch norms take their statistics from the frames of the test, their gains are large enough
(and of either sign), and :func:`fires` fails the test where a layer is silent or saturated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.model.spikformer import Spikformer
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.frontends.torch.capture import Capture, capture
from spikeloom.compiler.frontends.torch.eager import run_eager
from spikeloom.compiler.graph.kinds import SPIKES

RATES = (0.02, 0.9)  # share of neuron steps with a spike, of every layer of every network


def lif(**options: Any) -> neuron.LIFNode:
    """A leaky layer in multi-step mode."""
    return neuron.LIFNode(**{"tau": 2.0, "step_mode": "m", **options})


def frames(shape: tuple[int, ...], steps: int = 5, batch: int = 6, seed: int = 0) -> NDArray[np.uint8]:
    """Binary frames [steps, batch, *shape], denser in some places than in others."""
    rng = np.random.default_rng(seed)
    active: NDArray[np.bool_] = rng.random((steps, batch, *shape)) < rng.uniform(0.1, 0.6, shape)
    return active.astype(np.uint8)


def calibrated(model: nn.Module, x: Tensor, seed: int = 0, dense: Collection[nn.Module] = ()) -> None:
    """Give batch norms the statistics of x, and random gains and biases that make neurons fire.

    The neurons after those in ``dense`` fire more: products of sparse spikes hardly ever do.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for norm in norms:
        sign = torch.where(torch.rand(norm.num_features, generator=generator) < 0.3, -1.0, 1.0)
        norm.weight.data = sign * (1.0 + torch.rand(norm.num_features, generator=generator))
        norm.bias.data = torch.rand(norm.num_features, generator=generator) + (1.6 if norm in dense else -0.2)
        norm.momentum = 1.0  # the statistics are those of the last batch
    model.train()
    with torch.no_grad():
        model(x)
    functional.reset_net(model)
    model.eval()


def fires(model: nn.Module, shape: InputShape, given: NDArray[np.uint8]) -> dict[str, float]:
    """The firing rate of every layer.

    Raises:
        AssertionError: a layer is silent or nearly always on.
    """
    _, spikes = run_eager(model, shape, torch.from_numpy(given).float())
    rates = {name: float(s.mean()) for name, s in spikes.items()}
    odd = {name: rate for name, rate in rates.items() if not RATES[0] <= rate <= RATES[1]}
    assert rates, "there are no neurons"
    assert not odd, f"these layers fire too little or too much: {odd}"
    return rates


class Network(nn.Module):
    """Base of the small networks below.

    Attributes:
        input_shape: as on the command line.
    """

    input_shape = "T,B,2,8,8"

    @classmethod
    def shape(cls) -> InputShape:
        return InputShape.parse(cls.input_shape)

    @classmethod
    def frames(cls, batch: int = 6, steps: int = 5, seed: int = 0) -> NDArray[np.uint8]:
        """Binary frames [steps, batch, ...]."""
        return frames(cls.shape().sample, steps, batch, seed)

    @classmethod
    def made(cls, seed: int = 0, **options: Any) -> Network:
        """The network with random weights, calibrated; every layer fires."""
        torch.manual_seed(seed)
        model = cls(**options)
        shape = cls.shape()
        x = torch.from_numpy(cls.frames(batch=16, seed=seed)).float()
        calibrated(model, x.transpose(0, 1) if shape.lead.value == "B,T" else x, seed)
        fires(model, shape, cls.frames(seed=seed))
        return model


class Convolutional(Network):
    """Convolutions with stride, groups and bias, pooling, residuals of spikes, a head."""

    def __init__(self, v_reset: float | None = 0.0, tau: float = 2.0, decay_input: bool = True) -> None:
        super().__init__()
        options = {"v_reset": v_reset, "tau": tau, "decay_input": decay_input}
        if not decay_input:
            options["v_threshold"] = 1.5
        self.stem = layer.SeqToANNContainer(
            nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.MaxPool2d(3, 2, 1)
        )
        self.lif1 = lif(**options)
        self.grouped = layer.SeqToANNContainer(nn.Conv2d(8, 8, 3, padding=1, groups=4), nn.BatchNorm2d(8))
        self.lif2 = lif(**options)
        self.narrow = layer.SeqToANNContainer(nn.Conv2d(8, 12, 2, stride=2), nn.BatchNorm2d(12))
        self.lif3 = lif(**options)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        first = self.lif1(self.stem(x))
        second = first + self.lif2(self.grouped(first))
        third: Tensor = self.lif3(self.narrow(second)).flatten(-2).mean(-1)
        out: Tensor = self.head(third)
        return out


class BatchFirst(Network):
    """Takes [B, T, ...] and turns it round itself, as many event models do."""

    input_shape = "B,T,2,8,8"

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.lif = lif()
        self.head = nn.Linear(6 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        samples, steps = x.shape[:2]
        y = self.norm(self.conv(x.flatten(0, 1))).view(samples, steps, 6, 4, 4)
        spikes = self.lif(y.transpose(0, 1).contiguous())
        out: Tensor = self.head(spikes.flatten(2)).transpose(0, 1)
        return out


class Attention(Network):
    """Tokens by linear maps, attention with a scale by division, an affine chain before a neuron."""

    input_shape = "T,B,12"

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(12, 24, bias=False)
        self.norm = layer.SeqToANNContainer(nn.BatchNorm1d(24))
        self.lif = lif()
        self.q, self.k, self.v = (nn.Linear(6, 6) for _ in range(3))
        for dense in (self.q, self.k, self.v):
            dense.bias.data += 0.5
        self.q_lif, self.k_lif, self.v_lif = (lif(v_threshold=0.3) for _ in range(3))
        self.attn_lif = lif(v_threshold=0.3)
        self.gain = nn.Parameter(torch.linspace(1.0, 2.0, 6))
        self.mix = nn.Linear(6, 6)
        self.mix_lif = neuron.ParametricLIFNode(init_tau=1.7, v_threshold=0.2, step_mode="m")
        self.head = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        steps, samples = x.shape[:2]
        tokens = self.lif(self.norm(self.embed(x) / 1.7)).reshape(steps, samples, 4, 6)
        q, k, v = self.q_lif(self.q(tokens)), self.k_lif(self.k(tokens)), self.v_lif(self.v(tokens))
        attended = self.attn_lif((q @ k.transpose(-2, -1)) @ v / 3.0)
        mixed = self.mix_lif((self.mix(attended) * self.gain + 0.1) * 1.5)
        out: Tensor = self.head((tokens + mixed).flatten(2))
        return out


SMALL: tuple[type[Network], ...] = (Convolutional, BatchFirst, Attention)

SPIKFORMER: dict[str, Any] = {
    "T": 5,
    "in_channels": 2,
    "img_size_h": 12,
    "img_size_w": 12,
    "patch_size": 4,
    "num_classes": 5,
    "embed_dims": 32,
    "num_heads": 4,
    "mlp_ratio": 2.0,
    "depths": 1,
}
SPIKFORMER_SHAPE = InputShape.parse("T,B,2,12,12")


def spikformer_frames(seed: int = 0, batch: int = 6) -> NDArray[np.uint8]:
    """Binary frames [5, batch, 2, 12, 12]."""
    return frames(SPIKFORMER_SHAPE.sample, 5, batch, seed)


def spikformer(seed: int = 0, config: Mapping[str, Any] | None = None) -> Spikformer:
    """SpikingJelly's own Spikformer at a reduced size: 9 tokens, 32 channels; every layer fires."""
    torch.manual_seed(seed)
    model = Spikformer(**{**SPIKFORMER, **(config or {})})
    dense = [block.attn.qkv_conv_bn[1] for block in model.blocks]
    calibrated(model, torch.from_numpy(spikformer_frames(seed, batch=16)).float(), seed, dense)
    fires(model, SPIKFORMER_SHAPE, spikformer_frames(seed))
    return model


_CAPTURES: dict[tuple[str, int], Capture] = {}


def captured_spikformer(seed: int = 0) -> Capture:
    """A capture of :func:`spikformer`, made once; not to be changed."""
    if ("spikformer", seed) not in _CAPTURES:
        found = capture(spikformer(seed), SPIKFORMER_SHAPE, SPIKES, "spikformer")
        _CAPTURES["spikformer", seed] = found
    return _CAPTURES["spikformer", seed]


def captured(network: type[Network], seed: int = 0) -> Capture:
    """A capture of a small network, made once; not to be changed."""
    name = network.__name__.lower()
    if (name, seed) not in _CAPTURES:
        _CAPTURES[name, seed] = capture(network.made(seed), network.shape(), SPIKES, name)
    return _CAPTURES[name, seed]
