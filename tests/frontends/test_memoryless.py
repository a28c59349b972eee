"""Graded neurons without a memory are known by what they do, and by nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based.neuron import ILIFNode
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.frontends.torch.capture import capture
from spikeloom.compiler.frontends.torch.eager import prove_capture
from spikeloom.compiler.frontends.torch.memoryless import identify
from spikeloom.compiler.frontends.torch.neurons import read_neurons
from spikeloom.compiler.graph.graph import Unit
from spikeloom.compiler.graph.kinds import REAL, SPIKES, Type, levels
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.quantize.thresholds import quantize_neuron


class Even(nn.Module):
    """Spike-driven Transformer V3: halves go to the even neighbour."""

    def __init__(self, top: int = 4, divisor: float = 4.0) -> None:
        super().__init__()
        self.top, self.divisor = top, divisor

    def forward(self, x: Tensor) -> Tensor:
        return torch.round(torch.clamp(x, 0, self.top)) / self.divisor


class Up(nn.Module):
    """QSD-Transformer: four times the input, halves go up."""

    def __init__(self, gain: float = 4.0, divisor: float = 4.0) -> None:
        super().__init__()
        self.gain, self.divisor = gain, divisor

    def forward(self, x: Tensor) -> Tensor:
        return torch.floor(torch.clamp(self.gain * x, 0, 4) + 0.5) / self.divisor


@pytest.mark.parametrize(
    ("module", "wanted"),
    [
        (Even(), (1.0, 4, 4.0, "half_even")),
        (Even(divisor=1.0), (1.0, 4, 1.0, "half_even")),
        (Even(top=8, divisor=8.0), (1.0, 8, 8.0, "half_even")),
        (Up(), (4.0, 4, 4.0, "half_up")),
        (Up(divisor=2.0), (4.0, 4, 2.0, "half_up")),
        (Up(gain=0.3, divisor=1.0), (pytest.approx(0.3), 4, 1.0, "half_up")),
    ],
)
def test_gain_levels_divisor_and_rounding_are_found(module: nn.Module, wanted: tuple[Any, ...]) -> None:
    found = identify(module)
    assert found is not None
    assert (found.gain, found.levels, found.divisor, found.rounding) == wanted
    assert found.memoryless
    x = np.random.default_rng(0).uniform(-3, 20, (1, 1, 1, 999)).astype(np.float64)
    (got,), _ = found.step((x,), {"v": np.zeros_like(x)})
    np.testing.assert_array_equal(got, module(torch.from_numpy(x)).numpy())


class _Mixes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.round(torch.clamp(x + 0.1 * x.mean(), 0, 4))


class _Uneven(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.round(torch.clamp(x, 0, 2).square())


class _Down(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ceil(torch.clamp(x, 0, 4) - 0.5)


class _Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError


@pytest.mark.parametrize(
    "module",
    [nn.ReLU(), nn.Identity(), nn.Sigmoid(), nn.Linear(2, 2), _Mixes(), _Uneven(), _Down(), _Fails()],
    ids=lambda module: type(module).__name__,
)
def test_other_modules_are_not_taken_for_one(module: nn.Module) -> None:
    assert identify(module) is None


@pytest.mark.parametrize("module", [Even(), Even(divisor=1.0), Up(), Up(divisor=2.0)])
def test_integers_decide_as_trained_even_on_halves(module: nn.Module) -> None:
    """With inputs on a grid that holds the halves, no rounding is left: all decisions must agree."""
    neuron = identify(module)
    assert neuron is not None
    unit = Unit(np.array(1 / 8), np.zeros(()))
    op, _ = quantize_neuron("n", neuron, unit, NumericProfile("p"), 1)
    x = np.arange(-40, 80).reshape(1, -1)
    assert op.infer(Type((120,), levels(1000)))[0].kind == levels(4)
    (got,), _ = op.step((x,), {"v": np.zeros_like(x)})
    wanted = module(torch.from_numpy(x / 8)[None, None]).numpy().reshape(1, -1)
    np.testing.assert_array_equal(got / neuron.divisor, wanted)


@pytest.mark.parametrize(("tau", "threshold"), [(4 / 3, 1.0), (2.0, 0.5)])
def test_integer_lif_with_a_memory(tau: float, threshold: float) -> None:
    """SpikingJelly's I-LIF: probed, and equal to its equation on halves; integers equal on their grid."""
    module = ILIFNode(tau, threshold, step_mode="m")
    neuron = read_neurons(nn.Sequential(module))["0"]
    assert isinstance(neuron, Neuron)
    assert (neuron.levels, neuron.rounding, neuron.reset) == (4, "half_even", "soft")
    x = np.random.default_rng(0).integers(-8, 40, (4, 1, 500)) / 8  # four steps fit the state's fraction
    trained = module(torch.from_numpy(x)).numpy()
    op, _ = quantize_neuron("n", neuron, Unit(np.array(1 / 8), np.zeros(())), NumericProfile("p"), 4)
    op.infer(Type((500,), levels(40)))
    floats, integers = {"v": np.zeros((1, 500))}, {"v": np.zeros((1, 500), np.int64)}
    for step, frame in enumerate(x):
        (s,), floats = neuron.step((frame,), floats)
        (i,), integers = op.step(((frame * 8).astype(np.int64),), integers)
        np.testing.assert_array_equal(s, trained[step])
        np.testing.assert_array_equal(i, trained[step])
    assert set(np.unique(trained)) == {0, 1, 2, 3, 4}


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)
        self.a, self.b = Up(), Even(divisor=1.0)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.two(self.b(4 * self.one(x)) + 2 * self.a(self.one(x)))
        return y


@pytest.mark.parametrize("shape", ["B,6", "T,B,6"])
def test_networks_of_them_are_captured_exactly(shape: str) -> None:
    found = capture(_Net(), InputShape.parse(shape), SPIKES if shape[0] == "T" else REAL)
    steps = 5 if shape[0] == "T" else 1
    frames = (torch.rand((steps, 3, 6), generator=torch.Generator().manual_seed(1)) < 0.5).float()
    proof = prove_capture(found, frames)
    assert proof.cells == steps * 3 * (8 + 8 + 3)
