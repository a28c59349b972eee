"""Recurrent layers of PyTorch libraries: read, proved against the module, exact in integers on every engine.

snnTorch and norse are no dependencies: the classes here have the names, attributes and equations of theirs;
where a package is installed, the same is asked of its own. SpikingJelly's containers are its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer
from spikingjelly.activation_based import neuron as jelly
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.frontends.torch.capture import capture
from spikeloom.compiler.frontends.torch.eager import prove_capture
from spikeloom.compiler.frontends.torch.neurons import find_neurons, probe, read_neurons, survey_neurons
from spikeloom.compiler.graph.kinds import REAL
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.pipeline import Options, compile_model
from spikeloom.compiler.pipeline.compilation import Compilation
from spikeloom.errors import UnsupportedError
from tests.engines.agreement import disagreements
from tests.frontends.test_libraries import Leaky, LIFCell, LIFParameters, Synaptic

FEATURES, HIDDEN, STEPS = 8, 12, 10
SHAPE = InputShape.parse(f"T,B,{FEATURES}")


# --- look-alikes -----------------------------------------------------------------------------------------


class OneToOne(nn.Module):
    """As snnTorch's ``RecurrentOneToOne``."""

    def __init__(self, own: Tensor) -> None:
        super().__init__()
        self.V = nn.Parameter(own)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.V


def _way_back(all_to_all: bool, own: float | Tensor) -> nn.Module:
    return nn.Linear(HIDDEN, HIDDEN) if all_to_all else OneToOne(torch.as_tensor(own))


class RLeaky(Leaky):
    """As snnTorch's, with a reset that subtracts, or one at once."""

    def __init__(self, all_to_all: bool = True, V: float | Tensor = 0.4, **settings: Any) -> None:
        super().__init__(**settings)
        self.recurrent = _way_back(all_to_all, V)
        self.register_buffer("spk", torch.zeros(0), False)

    spk: Tensor

    def forward(  # type: ignore[override]
        self, x: Tensor, spk: Tensor | None = None, mem: Tensor | None = None
    ) -> Any:
        self.spk = self.spk if spk is None else spk
        if self.spk.shape != x.shape:
            self.spk = torch.zeros_like(x)
        result = super().forward(x + self.recurrent(self.spk), mem)
        self.spk = result[0] if isinstance(result, tuple) else result
        return result


class RSynaptic(Synaptic):
    """As snnTorch's, with a reset that subtracts."""

    def __init__(self, all_to_all: bool = True, V: float | Tensor = 0.4, **settings: Any) -> None:
        super().__init__(**settings)
        self.recurrent = _way_back(all_to_all, V)
        self.register_buffer("spk", torch.zeros(0), False)

    spk: Tensor

    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        if self.spk.shape != x.shape:
            self.spk = torch.zeros_like(x)
        result = super().forward(x + self.recurrent(self.spk))
        self.spk = result[0] if isinstance(result, tuple) else result
        return result


class RecurrentState(NamedTuple):
    """As norse's ``LIFState``."""

    z: Tensor
    v: Tensor
    i: Tensor


class LIFRecurrentCell(LIFCell):
    """As norse's: weights of its own for what arrives and for what comes back."""

    def __init__(self, input_size: int = FEATURES, hidden_size: int = HIDDEN, **settings: Any) -> None:
        super().__init__(**settings)
        self.hidden_size = torch.as_tensor(hidden_size)
        self.input_weights = nn.Parameter(torch.randn(hidden_size, input_size) * 0.4)
        self.recurrent_weights = nn.Parameter(torch.randn(hidden_size, hidden_size) * 0.4)

    def initial(self, x: Tensor) -> Any:
        zeros = x.new_zeros((*x.shape[:-1], int(self.hidden_size)))
        return RecurrentState(zeros, zeros + self.p.v_leak, zeros)

    def step(self, x: Tensor, state: Any) -> Any:
        back = nn.functional.linear(state.z, self.recurrent_weights)
        jump = state.i + nn.functional.linear(x, self.input_weights) + back
        v = state.v + self.dt * self.p.tau_mem_inv * ((self.p.v_leak - state.v) + jump)
        z = (v > self.p.v_th).to(v)
        decayed = jump + -self.dt * self.p.tau_syn_inv * jump
        return z, RecurrentState(z, (1 - z) * v + z * self.p.v_reset, decayed)


class LIFRecurrent(LIFRecurrentCell):
    """As norse's: over time, [T, B, ...]."""

    def forward(self, x: Tensor, state: Any = None) -> Any:
        spikes = []
        for frame in x:
            z, state = self.activation(frame, state or self.state_fallback(frame))
            spikes.append(z)
        return torch.stack(spikes), state


# --- networks --------------------------------------------------------------------------------------------


class Network(nn.Module):
    """A linear layer, a recurrent one and a head."""

    def __init__(self, recurrent: nn.Module, takes_input: bool = False) -> None:
        super().__init__()
        self.fc = nn.Identity() if takes_input else nn.Linear(FEATURES, HIDDEN)
        self.rnn, self.head = recurrent, nn.Linear(HIDDEN, 3)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.rnn(self.fc(x))
        result: Tensor = self.head(spikes[0] if isinstance(spikes, tuple) else spikes)
        return result


class Tutorial(nn.Module):
    """A loop over time that hands states on, as in snnTorch's tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.head = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, 3)
        self.rnn = RLeaky(hidden=False)

    def forward(self, x: Tensor) -> Tensor:
        spk = mem = torch.zeros(0)
        answers = []
        for frame in x:
            spk, mem = self.rnn(self.fc(frame), spk, mem)
            answers.append(self.head(spk))
        return torch.stack(answers)


class TwoOfJelly(nn.Module):
    """SpikingJelly's containers one behind the other, [T, B, ...]."""

    def __init__(self) -> None:
        super().__init__()
        lif = jelly.LIFNode(tau=1.5, v_threshold=0.3, v_reset=None, decay_input=False)
        inner = nn.Sequential(layer.Linear(HIDDEN, 10), lif)
        self.first = layer.LinearRecurrentContainer(inner, HIDDEN, 10)
        self.second = layer.ElementWiseRecurrentContainer(jelly.IFNode(), lambda y, x: x - 0.25 * y)
        self.fc, self.head = nn.Linear(FEATURES, HIDDEN), nn.Linear(10, 3)
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.second(self.first(self.fc(x))))
        return result


PARAMETERS = LIFParameters(torch.as_tensor(300.0), torch.as_tensor(250.0), v_th=torch.as_tensor(0.5))
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "RLeaky": lambda: Network(RLeaky(beta=0.8)),
    "RLeaky, zero at once": lambda: Network(RLeaky(beta=0.8, reset=1, delay=False)),
    "RLeaky, one to one": lambda: Network(RLeaky(False, torch.linspace(-0.5, 0.6, HIDDEN))),
    "RLeaky, one number": lambda: Network(RLeaky(False, 0.3)),
    "RSynaptic": lambda: Network(RSynaptic(alpha=0.5, beta=0.7)),
    "norse": lambda: Network(LIFRecurrentCell(p=PARAMETERS), takes_input=True),
    "norse over time": lambda: Network(LIFRecurrent(p=PARAMETERS), takes_input=True),
    "SpikingJelly": TwoOfJelly,
    "a loop over time": Tutorial,
}
NO_BIAS = ("RSynaptic",)
"""A bias in front of a current decays with it: loihi1 does not rescale."""


def _built(name: str) -> nn.Module:
    torch.manual_seed(4)
    model = NETWORKS[name]().eval()
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            parameter.mul_(2.5 if path == "fc.weight" else 1.0)
            if name in NO_BIAS and path in ("fc.bias", "rnn.recurrent.bias"):
                parameter.zero_()
    return model


def _frames(samples: int, most: int = 2) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.randint(0, most + 1, (STEPS, samples, FEATURES), generator=random).float()


def _compiled(model: nn.Module, target: str) -> Compilation:
    frames = _frames(6, most=1 if target == "loihi1" else 2).numpy()
    return compile_model(model, SHAPE, None, frames, Options(target, steps=STEPS, ledger=4), None)


def _equation(module: nn.Module) -> FeedbackNeuron:
    (equation,) = read_neurons(nn.Sequential(module)).values()
    assert isinstance(equation, FeedbackNeuron)
    return equation


# --- their equations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_a_recurrent_layer_is_one_neuron_layer(name: str) -> None:
    neurons = find_neurons(_built(name))
    assert list(neurons) == (["first", "second"] if name == "SpikingJelly" else ["rnn"])
    assert all(isinstance(one, FeedbackNeuron) for one in read_neurons(_built(name)).values())


def test_a_reset_of_snntorch_that_comes_late_subtracts_more() -> None:
    equation = _equation(RLeaky(beta=0.5, threshold=1.5))
    assert (equation.reset, equation.reset_by, equation.late, equation.strict) == ("soft", 3.0, True, True)
    assert equation.weight.shape == (HIDDEN, HIDDEN)
    assert equation.bias is not None


def test_layers_in_front_of_the_neuron_of_a_container_are_multiplied() -> None:
    model = _built("SpikingJelly")
    container = cast("Any", model.get_submodule("first"))
    equation = read_neurons(model)["first"]
    assert isinstance(equation, FeedbackNeuron)
    ahead, bias = equation.ahead, equation.bias
    assert ahead is not None
    assert bias is not None
    assert (ahead.shape, equation.weight.shape) == ((10, HIDDEN), (10, 10))
    x, y = torch.rand(HIDDEN), torch.ones(10)
    wanted = container.sub_module[0](container.rc(torch.cat([x, y])))
    got = ahead @ x.numpy() + equation.weight @ y.numpy() + bias
    assert np.allclose(got, wanted.detach().numpy(), atol=1e-6)


def test_a_wrong_weight_is_found() -> None:
    module = RLeaky(beta=0.8)
    equation = _equation(module)
    with torch.no_grad():
        module.recurrent.get_parameter("weight")[3, 5] += 0.2
    assert "disagrees" in probe(module, equation)


def _led_by(way: nn.Module) -> RLeaky:
    module = RLeaky()
    module.recurrent = way
    return module


REFUSED: list[tuple[nn.Module, str]] = [
    (RLeaky(reset=1), "known are 'subtract'"),
    (RLeaky(reset=2), "known are 'subtract'"),
    (RLeaky(beta=torch.rand(HIDDEN)), "a parameter for each channel, in a"),
    (RLeaky(beta=0.0), "known are 'subtract'"),
    (RLeaky(inhibition=True), "inhibition of snnTorch"),
    (RLeaky(graded_spikes_factor=torch.as_tensor(2.0)), "graded spikes"),
    (_led_by(nn.Conv2d(2, 2, 3)), "a Conv2d by which its spikes come back"),
    (RLeaky(False, torch.ones(3, 3)), "of two axes"),
    (
        layer.ElementWiseRecurrentContainer(jelly.IFNode(), lambda y, x: x * (1 - y)),
        "an element-wise function",
    ),
    (
        layer.ElementWiseRecurrentContainer(jelly.ILIFNode(), lambda y, x: x + y),
        "graded spikes that come back",
    ),
    (layer.ElementWiseRecurrentContainer(jelly.QIFNode(), lambda y, x: x + y), "QIFNode inside"),
    (
        layer.LinearRecurrentContainer(nn.Sequential(nn.BatchNorm1d(4), jelly.IFNode()), 4, 4),
        "BatchNorm1d between its weights and its neurons",
    ),
    (layer.LinearRecurrentContainer(jelly.TernaryIFNode(), 4, 4), "equations of their own"),
    (type("LSNNRecurrentCell", (LIFRecurrentCell,), {"forward": LIFCell.forward})(), "an adaptive threshold"),
]


@pytest.mark.parametrize(("module", "what"), REFUSED, ids=[what for _, what in REFUSED])
def test_what_has_no_counterpart_is_refused_by_name(module: nn.Module, what: str) -> None:
    _, problems = survey_neurons(nn.Sequential(module))
    assert [problem.code for problem in problems] == ["SL0304"]
    assert what in problems[0].what


@pytest.mark.parametrize("tokens", [5, HIDDEN])
def test_a_loop_over_tokens_is_refused(tokens: int) -> None:
    """Weights lead from a vector of neurons back to it, not from tokens to tokens."""
    containers = (
        layer.LinearRecurrentContainer(jelly.IFNode(), HIDDEN, HIDDEN, step_mode="m"),
        RLeaky(),
    )
    for container in containers:
        with pytest.raises(UnsupportedError, match="lead from tokens of neurons back to them"):
            capture(nn.Sequential(container), InputShape.parse(f"T,B,{tokens},{HIDDEN}"), REAL)


# --- compiled --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_the_captured_network_is_the_eager_one(name: str) -> None:
    found = capture(_built(name), SHAPE, REAL, steps=STEPS)
    assert prove_capture(found, _frames(5)).cells >= STEPS * 5 * HIDDEN


@pytest.mark.parametrize("target", ["onnx", "loihi2", "loihi1"])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_runs_exactly_in_integers(name: str, target: str) -> None:
    if target == "loihi1" and name not in ("RLeaky, zero at once", "norse", "norse over time"):
        pytest.skip("a soft reset needs a neuron program, which loihi1 has not")
    run = _compiled(_built(name), target)
    entries = run.ledger.to_json()
    exact = [entry for entry in entries if entry["tolerance"] == "zero"]
    assert [entry["differing"] for entry in exact] == [0] * (2 if target == "onnx" else 3)
    (decided,) = [entry for entry in entries if "decision by decision" in entry["against"]]
    assert decided["differing"] <= 0.01 * decided["cells"]
    assert run.agreement is not None
    assert all(0.03 < one.rate_integer < 0.97 for one in run.agreement.layers), run.agreement.layers
    assert run.quantized is not None
    loops = [node.op for node in run.quantized.graph.neurons()]
    assert all(isinstance(op, RecurrentNeuron) and np.abs(op.weight).max() >= 40 for op in loops)
    frames = (
        np.random.default_rng(0).integers(0, 2 + (target != "loihi1"), (STEPS, 3, FEATURES)).astype(np.uint8)
    )
    assert not disagreements(run.quantized.graph, frames, cuts=[4])


@pytest.mark.parametrize("seed", range(6))
def test_random_containers_run_exactly(seed: int) -> None:
    """SpikingJelly's neurons, resets and connections at random; each layer fires."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    v_reset = (None, 0.0, -0.2)[seed % 3]
    neuron = jelly.LIFNode(tau=float(random.uniform(1.2, 4)), v_reset=v_reset, decay_input=bool(seed % 2))
    own = float(random.uniform(-0.6, 0.6))
    container = (
        layer.LinearRecurrentContainer(neuron, HIDDEN, HIDDEN, bias=bool(seed % 4))
        if seed % 3
        else layer.ElementWiseRecurrentContainer(neuron, lambda y, x: own * y + x)
    )
    model = Network(container).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    functional.set_step_mode(model, "m")
    for target in ("onnx", "loihi2"):
        run = _compiled(model, target)
        exact = [entry for entry in run.ledger.to_json() if entry["tolerance"] == "zero"]
        assert not any(entry["differing"] for entry in exact)
        assert run.agreement is not None
        assert all(0.02 < one.rate_integer < 0.98 for one in run.agreement.layers)


# --- the libraries themselves ----------------------------------------------------------------------------


def test_snntorch_itself() -> None:
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    loops: dict[str, Any] = {"linear_features": HIDDEN, "init_hidden": True}
    made = [
        snn.RLeaky(beta=0.8, **loops),
        snn.RLeaky(beta=0.8, reset_mechanism="zero", reset_delay=False, **loops),
        snn.RLeaky(beta=0.8, all_to_all=False, V=torch.rand(HIDDEN), init_hidden=True),
        snn.RLeaky(beta=0.8, all_to_all=False, V=0.5, init_hidden=True),
        snn.RSynaptic(alpha=0.6, beta=0.8, **loops),
        snn.RSynaptic(alpha=0.6, beta=0.8, all_to_all=False, V=-0.5, init_hidden=True),
    ]
    assert len(read_neurons(nn.ModuleList(made))) == len(made)
    late = snn.RLeaky(beta=0.8, reset_mechanism="zero", **loops)
    _, (problem,) = survey_neurons(nn.Sequential(late))
    assert "known are 'subtract'" in problem.what
    for module in made[:1] + made[4:5]:
        prove_capture(capture(Network(module).eval(), SHAPE, REAL), _frames(3))


def test_norse_itself() -> None:
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    p = norse.LIFParameters(v_th=torch.as_tensor(0.3))
    for kind in (norse.LIFRecurrentCell, norse.LIFRecurrent):
        model = Network(kind(FEATURES, HIDDEN, p=p), takes_input=True).eval()
        assert len(read_neurons(model)) == 1
        prove_capture(capture(model, SHAPE, REAL), _frames(3))
