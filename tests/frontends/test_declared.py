"""Neurons that users declare by their equations: proved, captured, quantized and run like any other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron as jelly
from torch import Tensor, nn

import spikeloom
from spikeloom.compiler.frontends.declared import declared_equation
from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.frontends.torch.capture import capture
from spikeloom.compiler.frontends.torch.eager import prove_capture
from spikeloom.compiler.frontends.torch.neurons import probe, read_neurons
from spikeloom.compiler.graph.kinds import REAL
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.pipeline import Options, compile_model
from spikeloom.errors import InputError, UnsupportedError

STEPS, FEATURES = 10, 6


class _Stateful(nn.Module):
    """Loops over time; a subclass says what a step does to its states."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        self.state: dict[str, Any] = {}

    def forward(self, xs: Tensor) -> Tensor:
        return torch.stack([self.step(x) for x in xs])

    def step(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def get(self, name: str, x: Tensor, start: float = 0.0) -> Tensor:
        value: Tensor = self.state.get(name, torch.full_like(x, start))
        return value


class Adaptive(_Stateful):
    """A LIF whose threshold rises with each spike (Bellec et al., 2018)."""

    def __init__(self, rho: float = 0.9, beta: float = 0.7) -> None:
        super().__init__()
        self.rho, self.beta = rho, beta

    def step(self, x: Tensor) -> Tensor:
        v = self.get("v", x) * 0.75 + x
        a = self.get("a", x)
        threshold = 1 + self.beta * a
        s = (v >= threshold).to(x)
        self.state = {"v": v - s * threshold, "a": self.rho * a + s}
        return s


class TwoCompartments(_Stateful):
    """A dendrite that charges a soma; both of their own time constant, a factor a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coupling = nn.Parameter(torch.linspace(0.4, 0.9, channels))

    def step(self, x: Tensor) -> Tensor:
        d = 0.8 * self.get("d", x) + x
        v = 0.6 * self.get("v", x) + self.coupling * d
        s = (v > 1.0).to(x)
        self.state = {"d": d - 0.5 * s, "v": torch.where(s > 0, torch.zeros_like(v), v)}
        return s


class Signed(_Stateful):
    """An IF of an ANN that was converted: starts at half its threshold, and takes spikes back.

    As in the Spiking Diffusion models: a negative spike where the potential is below zero and spikes were
    sent before.
    """

    def step(self, x: Tensor) -> Tensor:
        v = self.get("v", x, 0.5) + x
        up = (v >= 1.0).to(x)
        v, sent = v - up, self.get("n", x) + up
        down = ((v <= -0.001) & (sent > 0)).to(x)
        self.state = {"v": v + down, "n": sent - down}
        return up - down


class Counting(_Stateful):
    """Counts up to three spikes, and forgets what a spike was worth."""

    def step(self, x: Tensor) -> Tensor:
        v = self.get("v", x) * 0.5 + x
        s = torch.floor(torch.clamp(v, 0, 3) + 0.5)
        self.state = {"v": v - s}
        return s


spikeloom.declare_neuron(
    Adaptive,
    lambda module: spikeloom.Neuron.from_equations(
        states=["v = 0", "a = 0"],
        update=["v = 0.75 * v + x", f"threshold = 1 + {module.beta} * a"],
        fire="v >= threshold",
        reset=["v = v - s * threshold", f"a = {module.rho} * a + s"],
    ),
)
spikeloom.declare_neuron(
    TwoCompartments,
    lambda module: spikeloom.Neuron.from_equations(
        states=["d = 0", "v = 0"],
        update=["d = 0.8 * d + x", "v = 0.6 * v + coupling * d"],
        fire="v > 1",
        reset=["d = d - 0.5 * s", "v = where(s, 0, v)"],
        parameters={"coupling": module.coupling.detach().numpy()},
    ),
)
spikeloom.declare_neuron(
    Signed,
    lambda module: spikeloom.Neuron.from_equations(
        states=["v = 0.5", "n = 0"],
        update=["h = v + x", "up = h >= 1", "w = h - up", "down = (w <= -0.001) * (n + up > 0)"],
        fire="up - down",
        reset=["v = w + down", "n = n + s"],
    ),
)
spikeloom.declare_neuron(
    Counting,
    lambda module: spikeloom.Neuron.from_equations(
        ["v = 0"], ["v = 0.5 * v + x"], "round_half_up(v, 3)", ["v = v - s"]
    ),
)

CASES: dict[str, Callable[[int], nn.Module]] = {
    "adaptive threshold": lambda channels: Adaptive(),
    "two compartments": TwoCompartments,
    "signed": lambda channels: Signed(),
    "counts": lambda channels: Counting(),
    "sliding PSN": lambda channels: jelly.SlidingPSN(k=3, step_mode="m"),
    "ternary": lambda channels: jelly.TernaryLIFNode(v_reset=None, v_threshold=0.6, step_mode="m"),
}


def _network(name: str) -> nn.Module:
    torch.manual_seed(1)
    first, second = nn.Linear(FEATURES, 24), nn.Linear(24, 16)
    with torch.no_grad():
        for layer in (first, second):
            layer.weight *= 2.0
            layer.bias.uniform_(0.0, 0.3)
    return nn.Sequential(first, CASES[name](24), second, CASES[name](16), nn.Linear(16, 4)).eval()


def _frames(samples: int) -> Tensor:
    return torch.randint(0, 3, (STEPS, samples, FEATURES), generator=torch.Generator().manual_seed(2)).float()


# --- the proof of a declaration --------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_the_captured_network_is_the_eager_one(name: str) -> None:
    found = capture(_network(name), InputShape.parse(f"T,B,{FEATURES}"), REAL)
    assert [type(node.op) for node in found.graph.neurons()] == [EquationNeuron, EquationNeuron]
    assert prove_capture(found, _frames(5)).cells == STEPS * 5 * (24 + 16 + 4)


@pytest.mark.parametrize("name", CASES)
def test_it_runs_exactly_in_integers(name: str) -> None:
    frames = _frames(6).numpy()
    shape = InputShape.parse(f"T,B,{FEATURES}")
    run = compile_model(_network(name), shape, None, frames, Options("onnx", steps=STEPS), None)
    entries = run.ledger.to_json()
    (exact,) = [entry for entry in entries if entry["stage"] == "onnx/sequence.onnx"]
    assert exact["differing"] == 0
    (decided,) = [entry for entry in entries if "decision by decision" in entry["against"]]
    assert decided["differing"] <= 0.01 * decided["cells"]
    rates = [layer.rate_integer for layer in run.agreement.layers] if run.agreement else []
    assert len(rates) == 2
    assert all(0.03 < rate < 0.95 for rate in rates), rates


def test_a_wrong_declaration_is_refused_with_both_traces() -> None:
    class Wrong(Adaptive):
        """Declared with another decay than it has."""

    spikeloom.declare_neuron(
        Wrong,
        lambda module: spikeloom.Neuron.from_equations(
            ["v = 0", "a = 0"],
            ["v = 0.7 * v + x"],
            "v >= 1 + 0.7 * a",
            ["v = v - s * (1 + 0.7 * a)", "a = 0.9 * a + s"],
        ),
    )
    with pytest.raises(UnsupportedError) as caught:
        read_neurons(nn.Sequential(nn.Linear(2, 2), Wrong()))
    (problem,) = caught.value.problems
    assert problem.code == "SL0305"
    assert "Wrong disagrees with its equation at step" in problem.what
    assert "currents [" in problem.what
    assert "equation [" in problem.what
    assert "module [" in problem.what


@pytest.mark.parametrize("fire", ["v > 1", "v >= 1"])
def test_what_happens_at_the_threshold_is_held_to_the_declaration(fire: str) -> None:
    class Sum(_Stateful):
        """Fires at its threshold."""

        def step(self, x: Tensor) -> Tensor:
            v = self.get("v", x) + x
            s = (v >= 1).to(x)
            self.state = {"v": v * (1 - s)}
            return s

    equation = spikeloom.Neuron.from_equations(["v = 0"], ["v = v + x"], fire, ["v = where(s, 0, v)"])
    fault = probe(Sum(), equation)
    assert fault == ("" if fire == "v >= 1" else "Sum decides otherwise than its equation at its threshold")


def test_a_declaration_that_never_fires_is_refused() -> None:
    never = spikeloom.Neuron.from_equations(["v = 0"], ["v = v + x"], "v >= 1e9")
    assert "does not fire on currents of any size" in probe(Counting(), never)


def test_a_declaration_that_cannot_be_read_names_the_neuron() -> None:
    class Powers(_Stateful):
        """Declared in another language."""

    spikeloom.declare_neuron(
        Powers, lambda module: spikeloom.Neuron.from_equations(["v = 0"], ["v = v ** 2"], "v >= 1")
    )
    with pytest.raises(InputError):
        declared_equation(Powers())
    with pytest.raises(UnsupportedError) as caught:
        read_neurons(nn.Sequential(Powers()))
    assert str(caught.value.problems[0]).startswith("SL0304 0: the neuron Powers is declared wrongly: 'v = v")


def test_a_target_without_equations_refuses_by_name() -> None:
    shape = InputShape.parse(f"T,B,{FEATURES}")
    with pytest.raises(UnsupportedError) as caught:
        compile_model(
            _network("adaptive threshold"),
            shape,
            None,
            _frames(4).numpy(),
            Options("loihi2", steps=STEPS),
            None,
        )
    named = [problem for problem in caught.value.problems if "declared equations" in problem.what]
    assert len(named) == 2
    assert "v = 0.75 * v + x" in named[0].what


# --- neurons that run offline only -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [lambda: jelly.PSN(T=4), lambda: jelly.MaskedPSN(k=2, T=4, step_mode="m")])
def test_a_full_psn_is_offline_only(kind: Callable[[], nn.Module]) -> None:
    with pytest.raises(UnsupportedError) as caught:
        read_neurons(nn.Sequential(kind()))
    assert "runs offline only" in str(caught.value.problems[0])


@pytest.mark.parametrize("order", [1, 2, 5])
def test_a_sliding_psn_is_a_window_over_time(order: int) -> None:
    module = jelly.SlidingPSN(k=order, step_mode="m")
    with torch.no_grad():
        module.weight.uniform_(-1, 1)
        module.weight[-1] = 0.7
    (equation,) = read_neurons(nn.Sequential(module)).values()
    assert isinstance(equation, EquationNeuron)
    assert len(equation.program.states) == order - 1
    with torch.no_grad():
        module.weight[0] += 0.3
    assert "disagrees" in probe(module, equation)


# --- the integer meaning ---------------------------------------------------------------------------------


def test_fixed_point_by_hand() -> None:
    """v = 0.3 v + x, four binary digits: 0.3 is round(0.3 * 2**20) / 2**20, products round half up."""
    neuron = EquationNeuron(
        ("v = 0.5",),
        ("v = 0.3 * v + x",),
        "v >= 1",
        ("v = v - s",),
        fraction_bits=4,
        limit=1000,
        gain=np.array(3),
        bias=np.array(1),
        shift=1,
    )
    v, fired, potentials = 8, [], []
    state = {"v": np.array([[v]])}
    for x in [4, 9, 0, 7, 12]:
        (s,), state = neuron.step((np.array([[x]]),), state)
        v = (v * round(0.3 * 2**20) + 2**19 >> 20) + (x * 3 + 1 + 1 >> 1)
        wanted = int(v >= 16)
        v -= wanted * 16
        fired.append((int(s[0, 0]), wanted))
        potentials.append((int(state["v"][0, 0]), v))
    assert all(got == wanted for got, wanted in fired + potentials)
    assert sum(got for got, _ in fired) >= 1


def test_a_state_stays_within_its_limit() -> None:
    neuron = EquationNeuron(
        ("v = 0",),
        ("v = v + x",),
        "v >= 1e6",
        limit=100,
        gain=np.array(7),
        bias=np.array(0),
    )
    state = {"v": np.zeros((1, 1), np.int64)}
    for _ in range(30):
        _, state = neuron.step((np.ones((1, 1), np.int64),), state)
    assert state["v"][0, 0] == 100


def test_floats_and_integers_agree_to_their_resolution() -> None:
    """Potentials of a neuron that never fires differ by the rounding of its constants and products."""
    texts = (
        ("v = 0.3", "w = -0.2"),
        ("w = 0.9 * w + 0.1 * v", "v = 0.7 * v - 0.05 * w * v + x / 9"),
        "v > 9",
    )
    real = EquationNeuron(*texts)
    bits = 16
    fixed = EquationNeuron(*texts, fraction_bits=bits, limit=2**22, gain=np.array(2**bits), bias=np.array(0))
    rng = np.random.default_rng(0)
    a = {"v": np.full((1, 9), 0.3), "w": np.full((1, 9), -0.2)}
    b = {name: np.rint(value * 2**bits).astype(np.int64) for name, value in a.items()}
    for _ in range(50):
        x = rng.integers(-3, 4, (1, 9))
        _, a = real.step((x,), a)
        _, b = fixed.step((x,), b)
        for name in a:
            assert np.abs(a[name] - b[name] / 2**bits).max() < 40 / 2**bits
    assert math.isfinite(float(a["v"].max()))
