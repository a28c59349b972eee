"""Neurons of PyTorch libraries: each setting of a known one is proved, everything else is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.neurons import (
    EQUATIONS,
    find_neurons,
    probe,
    read_neurons,
    reset_states,
)
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.errors import UnsupportedError

RESETS = [None, 0.0, 0.1, -0.07, -1.0]
TAUS = [1.1, 4 / 3, 2.0, 10 / 3, 5.7, 20.0]
THRESHOLDS = [0.123, 0.3, 1.0, 1.7]


def _equation(module: nn.Module) -> Neuron:
    equation = EQUATIONS[type(module).__name__](module)
    assert isinstance(equation, Neuron)
    return equation


# --- known neurons in every setting ----------------------------------------------------------------------


@pytest.mark.parametrize("v_reset", RESETS)
@pytest.mark.parametrize("tau", TAUS)
def test_lif_is_known_in_every_setting(tau: float, v_reset: float | None) -> None:
    """Also where 1/tau or the threshold are no binary fractions, so that potentials round."""
    for threshold in THRESHOLDS:
        for decay_input in (True, False):
            options: dict[str, Any] = {
                "decay_input": decay_input, "v_threshold": threshold, "v_reset": v_reset, "step_mode": "m"
            }  # fmt: skip
            for module in (
                neuron.LIFNode(tau=tau, **options),
                neuron.ParametricLIFNode(init_tau=tau, **options),
            ):
                assert probe(module, _equation(module)) == ""


@pytest.mark.parametrize("v_reset", RESETS)
def test_if_is_known_in_every_setting(v_reset: float | None) -> None:
    for threshold in THRESHOLDS:
        module = neuron.IFNode(v_threshold=threshold, v_reset=v_reset, step_mode="m")
        assert probe(module, _equation(module)) == ""


def test_simple_neurons_are_known_where_they_start_at_their_reset() -> None:
    for module in (
        neuron.SimpleIFNode(step_mode="m"),
        neuron.SimpleLIFNode(tau=3.0, decay_input=True, step_mode="m"),
        neuron.SimpleLIFNode(tau=3.0, decay_input=False, step_mode="m"),
    ):
        assert probe(module, _equation(module)) == ""
    # these start at 0, whatever v_reset says
    module = neuron.SimpleLIFNode(tau=3.0, decay_input=True, v_reset=-0.5, step_mode="m")
    assert "disagrees" in probe(module, _equation(module))


def test_a_trained_time_constant_is_read_from_the_parameter() -> None:
    module = neuron.ParametricLIFNode(init_tau=2.0, step_mode="m")
    module.w.data.fill_(0.3)
    assert _equation(module).gain == pytest.approx(
        torch.sigmoid(module.w.detach().double()).item(), rel=1e-15
    )
    assert probe(module, _equation(module)) == ""


def test_the_probe_leaves_the_module_alone() -> None:
    module = neuron.LIFNode(step_mode="m")
    module(torch.rand(3, 2, 4))
    potential = module.v.clone()
    probe(module, _equation(module))
    assert torch.equal(module.v, potential)
    assert potential.dtype == torch.float32


# --- the probe finds what is wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda op: replace(op, decay=op.decay + 0.02),
        lambda op: replace(op, gain=op.gain * 1.03),
        lambda op: replace(op, drift=op.drift + 0.02),
        lambda op: replace(op, threshold=op.threshold * 1.01),
        lambda op: replace(op, reset="soft", v_reset=0.0),
        lambda op: replace(op, v_reset=op.v_reset + 0.05),
    ],
)
@pytest.mark.parametrize("tau", [2.0, 3.7])
def test_a_wrong_equation_is_found(change: Callable[[Neuron], Neuron], tau: float) -> None:
    module = neuron.LIFNode(tau=tau, v_reset=0.1, step_mode="m")
    fault = probe(module, change(_equation(module)))
    assert "disagrees with its equation at step" in fault
    assert "currents [" in fault


class _Above(surrogate.Sigmoid):  # type: ignore[misc]
    """Fires above the threshold, where the known neurons fire at it too."""

    def forward(self, x: Tensor) -> Tensor:
        return (x > 0).to(x)


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("v_reset", [None, 0.0, -0.07])
def test_a_neuron_that_needs_more_than_its_threshold_is_found(
    tau: float, threshold: float, v_reset: float | None
) -> None:
    module = neuron.LIFNode(
        tau=tau, v_threshold=threshold, v_reset=v_reset, surrogate_function=_Above(), step_mode="m"
    )
    assert probe(module, _equation(module)) == "LIFNode does not fire when its potential is its threshold"


# --- reading a model -------------------------------------------------------------------------------------


class Halving(neuron.LIFNode):  # type: ignore[misc]
    """A subclass with another equation and a name of its own."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x / 2)


def _refused(model: nn.Module) -> list[str]:
    with pytest.raises(UnsupportedError) as caught:
        read_neurons(model)
    return [str(problem) for problem in caught.value.problems]


def test_a_subclass_is_not_taken_for_its_base() -> None:
    (problem,) = _refused(nn.Sequential(Halving(step_mode="m")))
    assert problem.startswith("SL0304 0: the neuron Halving is not known (wanted CUBALIFNode or ElementWise")


def test_a_subclass_of_the_same_name_with_another_equation_is_found() -> None:
    namesake = type("LIFNode", (Halving,), {})
    (problem,) = _refused(nn.Sequential(namesake(step_mode="m")))
    assert problem.startswith("SL0305 0: LIFNode disagrees with its equation at step")


class _Own(nn.Module):
    """A neuron of the user's own."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        vars(self).update({"v_threshold": 1.0, **attributes})

    def forward(self, x: Tensor) -> Tensor:
        return x

    def reset(self) -> None:
        vars(self)["v"] = 0.0


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"v_reset": 0.0, "tau": "two", "decay_input": True},
        {"v_reset": torch.zeros(3), "tau": 2.0, "decay_input": True},
    ],
    ids=str,
)
def test_a_namesake_with_other_parameters_is_refused(attributes: dict[str, Any]) -> None:
    namesake = type("LIFNode", (_Own,), {})
    (problem,) = _refused(nn.Sequential(namesake(**attributes)))
    assert problem.startswith("SL0304 0: the neuron LIFNode has other parameters than the one")


def test_a_namesake_that_cannot_be_run_is_refused() -> None:
    namesake = type("LIFNode", (_Own,), {"forward": lambda self, x: x.undefined})
    (problem,) = _refused(nn.Sequential(namesake(v_reset=0.0, tau=2.0, decay_input=True)))
    assert problem.startswith("SL0305 0: LIFNode cannot be run alone: AttributeError")


def test_every_neuron_that_stands_in_the_way_is_listed() -> None:
    good = neuron.LIFNode(step_mode="m")
    model = nn.Sequential(Halving(), nn.Sequential(good, neuron.KLIFNode(step_mode="m")), _Own())
    problems = _refused(model)
    assert [problem.split(":")[0] for problem in problems] == ["SL0304 0", "SL0304 1.1", "SL0304 2"]


def test_neurons_are_found_by_structure() -> None:
    inner = neuron.LIFNode(step_mode="m")
    block = nn.Sequential(inner, nn.Linear(2, 2))
    vars(block)["v_threshold"] = 1.0  # a block that remembers its neuron's threshold is no neuron
    model = nn.ModuleDict({"block": block, "own": _Own()})
    assert find_neurons(model) == {"block.0": inner, "own": model["own"]}


def test_reset_reaches_every_module_with_state() -> None:
    known: Any = neuron.LIFNode()
    own: Any = _Own()
    known(torch.rand(3, 2))
    reset_states(nn.Sequential(nn.Linear(2, 2), known, own))
    assert known.v == 0.0
    assert own.v == 0.0
