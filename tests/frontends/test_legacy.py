"""Old environments: what is stood in for, its equations, and that nothing of it stays."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch
from torch import nn

from spikeloom.compiler.frontends.torch.legacy import PROVIDED, legacy_imports
from spikeloom.compiler.frontends.torch.legacy.clock_driven import (
    IFNode,
    MultiStepIFNode,
    MultiStepLIFNode,
    MultiStepParametricLIFNode,
)
from spikeloom.compiler.frontends.torch.neurons import EQUATIONS, read_neurons
from spikeloom.errors import InputError


@pytest.mark.parametrize("name", sorted(PROVIDED))
def test_everything_that_is_listed_imports(name: str) -> None:
    with legacy_imports():
        assert importlib.import_module(name).__name__ == name


def test_nothing_stays() -> None:
    before, finders = set(sys.modules), list(sys.meta_path)
    with legacy_imports():
        importlib.import_module("spikingjelly.clock_driven.neuron")
        importlib.import_module("timm.models.layers")
    assert {name for name in set(sys.modules) - before if name in PROVIDED} == set()
    assert sys.meta_path == finders
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("spikingjelly.clock_driven")


def test_what_is_installed_is_not_replaced() -> None:
    import spikingjelly

    with legacy_imports():
        assert importlib.import_module("spikingjelly") is spikingjelly


def test_a_backend_that_was_dropped_is_taken_only_inside() -> None:
    from spikingjelly.activation_based import neuron

    with legacy_imports():
        assert neuron.LIFNode(tau=2.0, step_mode="m", backend="cupy").tau == 2.0
    with pytest.raises(TypeError, match="backend"):
        neuron.LIFNode(tau=2.0, backend="cupy")


def test_a_package_that_is_needed_is_named() -> None:
    with legacy_imports():
        torchinfo = importlib.import_module("torchinfo")
        if "spikeloom" not in str(vars(torchinfo).get("__getattr__", "")):
            pytest.skip("torchinfo is installed")
        with pytest.raises(InputError, match="SL0205 summary"):
            torchinfo.summary(nn.Linear(1, 1))


@pytest.mark.parametrize(
    "node",
    [
        MultiStepLIFNode(tau=2.0, detach_reset=True, backend="cupy"),
        MultiStepLIFNode(tau=3.0, v_threshold=0.5, v_reset=-0.2),
        MultiStepLIFNode(tau=1.5, decay_input=False, v_reset=None),
        MultiStepParametricLIFNode(init_tau=2.5),
        MultiStepIFNode(v_threshold=0.7),
        IFNode(),
    ],
    ids=lambda node: type(node).__name__,
)
def test_their_neurons_obey_their_equations(node: nn.Module) -> None:
    """The recogniser drives each with random currents, and refuses one that disagrees."""
    assert type(node).__name__ in EQUATIONS
    assert read_neurons(nn.Sequential(node)).keys() == {"0"}


def test_lif_by_hand() -> None:
    lif = MultiStepLIFNode(tau=2.0)
    x = torch.tensor([1.5, 1.5, 0.0, 4.0]).reshape(4, 1)
    assert lif(x).flatten().tolist() == [0, 1, 0, 1]  # h = 0.75, 1.125, 0, 2
    assert lif.v.tolist() == [0.0]
    lif.reset()
    assert lif.v == 0.0


def test_spikes_have_a_gradient() -> None:
    x = torch.tensor([[0.9], [1.2]], requires_grad=True)
    MultiStepLIFNode(tau=2.0)(x).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()
