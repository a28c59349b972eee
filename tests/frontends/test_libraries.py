"""Neurons of snnTorch, norse and BrainCog: known by class name and attributes, and probed.

The packages are no dependencies of the project. The classes here have the names, attributes and equations
of theirs; where a package is installed, the same is asked of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from spikingjelly.activation_based import neuron as jelly
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.frontends.torch.capture import capture
from spikeloom.compiler.frontends.torch.eager import prove_capture
from spikeloom.compiler.frontends.torch.libraries.library import SpikingNeuron
from spikeloom.compiler.frontends.torch.neurons import (
    find_neurons,
    library_of,
    probe,
    read_neurons,
    reset_states,
    survey_neurons,
)
from spikeloom.compiler.graph.kinds import REAL, Type, levels
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.pipeline import Options, compile_model
from spikeloom.errors import UnsupportedError

FEATURES, STEPS = 6, 10


def _above(x: Tensor) -> Tensor:
    return (x > 0).to(x)


# --- look-alikes -----------------------------------------------------------------------------------------


class Leaky(nn.Module):
    """As snnTorch's: keeps its potential, and resets at the next step."""

    def __init__(
        self,
        beta: float | Tensor = 0.8,
        threshold: float = 1.0,
        reset: int = 0,
        delay: bool = True,
        hidden: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.register_buffer("beta", torch.as_tensor(beta))
        self.register_buffer("threshold", torch.as_tensor(threshold))
        self.register_buffer("reset_mechanism_val", torch.as_tensor(reset))
        self.register_buffer("mem", torch.zeros(0), False)
        self.spike_grad, self.init_hidden, self.reset_delay = _above, hidden, delay
        self.output = self.inhibition = self.state_quant = False
        self.graded_spikes_factor = torch.as_tensor(1.0)
        vars(self).update(settings)

    beta: Tensor
    threshold: Tensor
    reset_mechanism_val: Tensor
    mem: Tensor

    def charge(self, x: Tensor) -> Tensor:
        return self.beta.clamp(0, 1) * self.mem + x

    def cleared(self, x: Tensor, before: Tensor) -> Tensor:
        self.mem = (1 - before) * self.mem
        return self.charge(x)

    def result(self, spikes: Tensor) -> Any:
        return spikes if self.init_hidden and not self.output else (spikes, self.mem)

    def forward(self, x: Tensor, mem: Tensor | None = None) -> Any:
        self.mem = self.mem if mem is None else mem
        if self.mem.shape != x.shape:
            self.mem = torch.zeros_like(x)
        kind = int(self.reset_mechanism_val)
        before = self.spike_grad(self.mem - self.threshold)
        charged = self.cleared(x, before) if kind == 1 else self.charge(x)
        self.mem = charged - (before * self.threshold if kind == 0 else 0)
        spikes = self.spike_grad(self.mem - self.threshold)
        if not self.reset_delay and kind != 2:
            lost = self.threshold if kind == 0 else self.mem
            self.mem = self.mem - (spikes - before) * lost
        return self.result(spikes * self.graded_spikes_factor)


class Synaptic(Leaky):
    """As snnTorch's: a current before the potential."""

    def __init__(self, alpha: float = 0.6, **settings: Any) -> None:
        super().__init__(**settings)
        self.register_buffer("alpha", torch.as_tensor(alpha))
        self.register_buffer("syn", torch.zeros(0), False)

    alpha: Tensor
    syn: Tensor

    def charge(self, x: Tensor) -> Tensor:
        self.syn = self.alpha * (self.syn if self.syn.shape == x.shape else torch.zeros_like(x)) + x
        return self.beta.clamp(0, 1) * self.mem + self.syn

    def cleared(self, x: Tensor, before: Tensor) -> Tensor:
        return self.charge(x) * (1 - before)

    def result(self, spikes: Tensor) -> Any:
        return spikes if self.init_hidden and not self.output else (spikes, self.syn, self.mem)


class LIFParameters(NamedTuple):
    """As norse's."""

    tau_syn_inv: Tensor = torch.as_tensor(200.0)
    tau_mem_inv: Tensor = torch.as_tensor(100.0)
    v_leak: Tensor = torch.as_tensor(0.0)
    v_th: Tensor = torch.as_tensor(1.0)
    v_reset: Tensor = torch.as_tensor(0.0)
    method: str = "super"


class LIFState(NamedTuple):
    """As norse's."""

    v: Tensor
    i: Tensor


class LIFCell(nn.Module):
    """As norse's: is given its state, and gives it back."""

    def __init__(self, p: LIFParameters | None = None, dt: float = 0.001) -> None:
        super().__init__()
        self.p, self.dt = p or LIFParameters(), dt
        self.activation, self.state_fallback = self.step, self.initial

    def initial(self, x: Tensor) -> LIFState:
        return LIFState(self.p.v_leak.clone(), torch.zeros_like(x))

    def step(self, x: Tensor, state: LIFState) -> tuple[Tensor, LIFState]:
        jump = state.i + x
        v = state.v + self.dt * self.p.tau_mem_inv * ((self.p.v_leak - state.v) + jump)
        z = _above(v - self.p.v_th)
        decayed = jump + -self.dt * self.p.tau_syn_inv * jump
        return z, LIFState((1 - z) * v + z * self.p.v_reset, decayed)

    def forward(self, x: Tensor, state: LIFState | None = None) -> tuple[Tensor, LIFState]:
        return self.activation(x, state or self.state_fallback(x))


class LIF(LIFCell):
    """As norse's: over time, [T, B, ...]."""

    def forward(self, x: Tensor, state: LIFState | None = None) -> Any:
        spikes = []
        for frame in x:
            z, state = self.activation(frame, state or self.state_fallback(frame))
            spikes.append(z)
        return torch.stack(spikes), state


class LICell(LIFCell):
    """As norse's: what it sends is its potential."""

    def step(self, x: Tensor, state: LIFState) -> tuple[Tensor, LIFState]:
        jump = state.i + x
        v = state.v + self.dt * self.p.tau_mem_inv * ((self.p.v_leak - state.v) + jump)
        return v, LIFState(v, jump + -self.dt * self.p.tau_syn_inv * jump)


class PLIFNode(nn.Module):
    """As BrainCog's: one step a call, cleared by each spike."""

    def __init__(self, threshold: Any = 0.5, tau: float = 2.0, surrogate: Any = _above) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.as_tensor(threshold))
        self.w = nn.Parameter(-torch.log(torch.tensor(tau - 1.0)))
        self.act_fun, self.v_reset, self.dt, self.step, self.groups = surrogate, 0.0, 1.0, 8, 1
        self.layer_by_layer = self.sigmoid_thres = False
        self.mem: Any = 0.0
        self.spike: Any = 0.0

    def integral(self, x: Tensor) -> None:
        self.mem = self.mem + (x - self.mem) * self.w.sigmoid() * self.dt

    def calc_spike(self) -> None:
        self.spike = self.act_fun(self.mem - self.threshold)
        self.mem = self.mem * (1 - self.spike)

    def n_reset(self) -> None:
        self.mem = self.spike = 0.0

    def forward(self, x: Tensor) -> Any:
        self.integral(x)
        self.calc_spike()
        return self.spike


class NoisePLIFNode(PLIFNode):
    """As BrainCog's."""

    def calc_spike(self) -> None:
        self.mem = self.mem + 0.1 * torch.randn_like(self.mem)
        super().calc_spike()


def _at(x: Tensor) -> Tensor:
    return (x >= 0).to(x)


# --- their equations -------------------------------------------------------------------------------------


def _equation(module: nn.Module) -> SpikingNeuron:
    (equation,) = read_neurons(nn.Sequential(module)).values()
    return equation


def test_libraries_are_told_apart() -> None:
    modules = {
        "snnTorch": Leaky(), "norse": LIFCell(), "BrainCog": PLIFNode(), "SpikingJelly": jelly.LIFNode()
    }  # fmt: skip
    for name, module in modules.items():
        assert library_of(module).name == name
    assert list(find_neurons(nn.Sequential(*modules.values()))) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("reset", range(3))
@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("kind", [Leaky, Synaptic])
def test_snntorch_in_every_setting(
    kind: Callable[..., nn.Module], beta: float, reset: int, delay: bool
) -> None:
    for threshold in (0.3, 1.0):
        equation = _equation(kind(beta=beta, threshold=threshold, reset=reset, delay=delay))
        late_subtraction = reset == 0 and delay and beta > 0
        cleared = reset == 1 and (kind is Leaky or not delay)
        assert isinstance(equation, Neuron) == (late_subtraction or cleared)


@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("reset", range(3))
@pytest.mark.parametrize("kind", [Leaky, Synaptic])
def test_snntorch_with_parameters_of_each_channel(kind: Any, reset: int, delay: bool) -> None:
    """As with ``learn_beta=True`` and a beta for each neuron."""
    module = kind(beta=torch.tensor([0.2, 0.5, 0.9, 1.3]), reset=reset, delay=delay)
    module.threshold = torch.tensor([1.0, 0.5, 2.0, 0.7])
    equation = _equation(module)
    assert isinstance(equation, EquationNeuron)
    assert equation.parameters == ("beta", "threshold")
    module.beta[1] += 0.2
    assert "disagrees" in probe(module, equation)


def test_a_late_subtraction_is_a_soft_reset_of_another_amount() -> None:
    equation = _equation(Synaptic(alpha=0.25, beta=0.5, threshold=1.5))
    assert isinstance(equation, Neuron)
    assert (equation.reset, equation.reset_by, equation.current_decay) == ("soft", 3.0, 0.25)
    assert equation.strict
    assert equation.late


@pytest.mark.parametrize("delay", [True, False])
def test_whether_potentials_wait_for_their_reset_is_kept(delay: bool) -> None:
    equation = _equation(Leaky(reset=1, delay=delay))
    assert isinstance(equation, Neuron)
    assert (equation.reset, equation.late) == ("hard", delay)


def test_norse_with_its_current() -> None:
    p = LIFParameters(tau_mem_inv=torch.as_tensor(250.0), v_th=torch.as_tensor(0.5))
    for module in (LIFCell(p), LIF(p)):
        equation = _equation(module)
        assert isinstance(equation, Neuron)
        assert equation.decay == pytest.approx(0.75)
        assert equation.current_decay == pytest.approx(0.8)
        assert equation.strict


@pytest.mark.parametrize("tau", [1.3, 2.0, 5.0])
@pytest.mark.parametrize(("surrogate", "strict"), [(_above, True), (_at, False)])
def test_braincog_fires_as_its_surrogate_says(tau: float, surrogate: Any, strict: bool) -> None:
    equation = _equation(PLIFNode(tau=tau, surrogate=surrogate))
    assert isinstance(equation, Neuron)
    assert equation.strict is strict
    assert equation.decay == pytest.approx(1 - 1 / tau)


@pytest.mark.parametrize("v_reset", [None, 0.0, 0.2])
@pytest.mark.parametrize("kind", [jelly.TernaryIFNode, jelly.TernaryLIFNode])
def test_ternary_spikes_of_spikingjelly(kind: Any, v_reset: float | None) -> None:
    equation = _equation(kind(v_threshold=0.7, v_reset=v_reset, step_mode="m"))
    assert isinstance(equation, EquationNeuron)


@pytest.mark.parametrize("v_reset", [None, 0.0])
def test_cuba_of_spikingjelly(v_reset: float | None) -> None:
    module = jelly.CUBALIFNode(c_decay=0.4, v_decay=0.7, v_threshold=0.6, v_reset=v_reset)
    module.step_mode = "m"
    equation = _equation(module)
    assert isinstance(equation, Neuron)
    assert equation.current_decay == 0.4


class _Quant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.round(torch.clamp(x, 0, 4))


class Q_IFNode(nn.Module):  # noqa: N801 - the name in Spike-driven Transformer V3
    """As in the event-camera models of Spike-driven Transformer V3."""

    def __init__(self, v_reset: float | None = 0.0) -> None:
        super().__init__()
        self.v_threshold, self.v_reset, self.surrogate_function = 1.0, v_reset, _Quant()
        self.reset()

    def reset(self) -> None:
        self.v: Any = 0.0

    def forward(self, xs: Tensor) -> Tensor:
        spikes = []
        for x in xs:
            self.v = self.v + x
            s = self.surrogate_function(self.v)
            soft = self.v_reset is None
            self.v = self.v - s * self.v_threshold if soft else (1 - s) * self.v + s * self.v_reset
            spikes.append(s)
        return torch.stack(spikes)


@pytest.mark.parametrize("v_reset", [None, 0.0])
def test_counts_with_the_reset_of_plain_spikes(v_reset: float | None) -> None:
    equation = _equation(Q_IFNode(v_reset))
    assert isinstance(equation, EquationNeuron)
    assert equation.infer(Type((3,), REAL))[0].kind == levels(4)


# --- refusals --------------------------------------------------------------------------------------------

REFUSED: list[tuple[nn.Module, str]] = [
    (PLIFNode(threshold=torch.rand(5)), "a parameter of 5 values"),
    (Leaky(inhibition=True), "inhibition of snnTorch"),
    (LIFCell(LIFParameters(v_leak=torch.as_tensor(0.2))), "it starts at 0.2"),
    (LIFCell(LIFParameters(method="logistic")), "drawn by chance"),
    (type("LSNNCell", (LIFCell,), {"forward": LIFCell.forward})(), "adaptive threshold"),
    (NoisePLIFNode(), "NoisePLIFNode of BrainCog is refused: it adds noise"),
    (PLIFNode(surrogate=torch.ceil), "gives other than 0 and 1"),
    (jelly.QIFNode(step_mode="m"), "squared at each step"),
    (jelly.EIFNode(step_mode="m"), "an exponential of itself"),
    (jelly.KLIFNode(step_mode="m"), "KLIFNode of SpikingJelly is refused"),
]


@pytest.mark.parametrize(("module", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_what_has_no_counterpart_is_refused_by_name(module: nn.Module, reason: str) -> None:
    equations, problems = survey_neurons(nn.Sequential(nn.Linear(2, 2), module))
    assert not equations
    (problem,) = problems
    assert problem.code == "SL0304"
    assert type(module).__name__ in problem.what
    assert reason in problem.what


def test_a_namesake_with_another_equation_is_refused_with_both_traces() -> None:
    class Wrong(Leaky):
        """Leaks twice."""

        def charge(self, x: Tensor) -> Tensor:
            return self.beta * self.beta * self.mem + x

    module = type("Leaky", (Wrong,), {})()
    _, (problem,) = survey_neurons(nn.Sequential(module))
    assert problem.code == "SL0305"
    assert all(part in problem.what for part in ("currents [", "equation [", "module ["))


# --- networks --------------------------------------------------------------------------------------------


class Given(nn.Module):
    """As users of norse write it: the states go in and come out."""

    def __init__(self, readout: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.cell = nn.Linear(FEATURES, 20), LIFCell(LIFParameters(v_th=torch.as_tensor(0.2)))
        self.second, self.readout = nn.Linear(20, 4), readout

    def forward(self, x: Tensor, state: Any = None) -> Any:
        z, state = self.cell(self.first(x), state)
        out = self.second(z)
        return out if self.readout is None else self.readout(out)[0], state


class Handed(nn.Module):
    """As users of snnTorch write it: potentials beside the spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one = nn.Linear(FEATURES, 20), Leaky(hidden=False)
        self.second, self.two = nn.Linear(20, 4), Synaptic(hidden=False, beta=0.7)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        spikes, _ = self.one(self.first(x))
        out, _, mem = self.two(self.second(spikes))
        return out, mem


class Looping(nn.Module):
    """As snnTorch's tutorials write it: a loop over time that records spikes and potentials."""

    def __init__(self, answer: str = "spikes") -> None:
        super().__init__()
        self.first, self.one = nn.Linear(FEATURES, 20), Leaky(hidden=False)
        self.second, self.two = nn.Linear(20, 4), Leaky(hidden=False, reset=0 if answer == "spikes" else 2)
        self.answer = answer

    def forward(self, xs: Tensor) -> Any:
        one, two = torch.zeros(0), torch.zeros(0)
        spikes, potentials = [], []
        for step in range(len(xs)):
            sent, one = self.one(self.first(xs[step]), _shaped(one, xs, 20))
            out, two = self.two(self.second(sent), _shaped(two, xs, 4))
            spikes.append(out)
            potentials.append(two)
        both = torch.stack(spikes), torch.stack(potentials)
        if self.answer == "sum":
            return both[0].sum(0)
        return both if self.answer == "spikes" else both[::-1]


def _shaped(potential: Tensor, xs: Tensor, features: int) -> Tensor:
    return potential if potential.numel() else torch.zeros(xs.shape[1], features)


class EachFrame(nn.Module):
    """As users of SpikingJelly write it: one step at a time, over [B, T, ...]."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(FEATURES, 20),
            jelly.LIFNode(v_threshold=0.4),
            nn.Linear(20, 4),
            jelly.LIFNode(v_threshold=0.3),
        )

    def forward(self, xs: Tensor) -> Tensor:
        return torch.stack([self.net(x) for x in xs.unbind(1)], 1)


class Summing(EachFrame):
    """Sums inside of its loop."""

    def forward(self, xs: Tensor) -> Any:
        total: Any = 0
        for x in xs.unbind(1):
            total = total + self.net(x)
        return total


LOOPS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "spikes": (Looping, "T,B"),
    "potentials": (lambda: Looping("potentials"), "T,B"),
    "sum": (lambda: Looping("sum"), "T,B"),
    "frames": (EachFrame, "B,T"),
}

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "snnTorch": lambda: nn.Sequential(nn.Linear(FEATURES, 20), Leaky(), nn.Linear(20, 4), Synaptic()),
    "snnTorch, at once": lambda: nn.Sequential(nn.Linear(FEATURES, 20), Leaky(delay=False), nn.Linear(20, 4)),
    "snnTorch, potentials": Handed,
    "norse": Given,
    "norse, a readout": lambda: Given(LICell()),
    "norse over time": lambda: nn.Sequential(nn.Linear(FEATURES, 20), _Spikes(), nn.Linear(20, 4)),
    "BrainCog": lambda: nn.Sequential(nn.Linear(FEATURES, 20), PLIFNode(), nn.Linear(20, 4), PLIFNode()),
}


class _Spikes(nn.Module):
    """The spikes of a layer, without its state."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = LIF(LIFParameters(v_th=torch.as_tensor(0.2)))

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.layer(x)[0]
        return spikes


def _built(name: str) -> nn.Module:
    torch.manual_seed(3)
    model = NETWORKS[name]().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight *= 3.0
    return model


def _frames(samples: int) -> Tensor:
    return torch.randint(0, 3, (STEPS, samples, FEATURES), generator=torch.Generator().manual_seed(2)).float()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_captured_network_is_the_eager_one(name: str) -> None:
    """Models that take one time step a call are called once for each."""
    found = capture(_built(name), InputShape.parse(f"T,B,{FEATURES}"), REAL)
    assert found.input_shape.one_step == (name != "norse over time")
    assert prove_capture(found, _frames(5)).cells >= STEPS * 5 * 24


@pytest.mark.parametrize("name", NETWORKS)
def test_it_runs_exactly_in_integers(name: str) -> None:
    shape = InputShape.parse(f"T,B,{FEATURES}")
    run = compile_model(_built(name), shape, None, _frames(6).numpy(), Options("onnx", steps=STEPS), None)
    entries = run.ledger.to_json()
    (exact,) = [entry for entry in entries if entry["stage"] == "onnx/sequence.onnx"]
    assert exact["differing"] == 0
    (decided,) = [entry for entry in entries if "decision by decision" in entry["against"]]
    assert decided["differing"] <= 0.01 * decided["cells"]
    assert run.agreement is not None
    assert all(0.03 < layer.rate_integer < 0.97 for layer in run.agreement.layers)


def _looping(name: str) -> tuple[nn.Module, InputShape]:
    torch.manual_seed(3)
    kind, lead = LOOPS[name]
    model = kind().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight *= 3.0
    return model, InputShape.parse(f"{lead},{FEATURES}")


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_over_time_is_captured_by_one_of_its_turns(name: str) -> None:
    model, shape = _looping(name)
    found = capture(model, shape, REAL, steps=STEPS)
    assert found.input_shape.loops
    assert sum(node.op.name == "linear" for node in found.graph.nodes) == 2
    assert prove_capture(found, _frames(7)).cells >= STEPS * 7 * 20


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_over_time_runs_exactly_in_integers(name: str) -> None:
    model, shape = _looping(name)
    run = compile_model(model, shape, None, _frames(7).numpy(), Options("onnx", steps=STEPS), None)
    entries = run.ledger.to_json()
    (exact,) = [entry for entry in entries if entry["stage"] == "onnx/sequence.onnx"]
    assert exact["differing"] == 0


def test_a_sum_inside_of_a_loop_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        capture(Summing().eval(), InputShape.parse(f"B,T,{FEATURES}"), REAL, steps=STEPS)
    assert "inside of a loop" in str(caught.value)


def test_a_wrong_readout_is_refused_with_both_traces() -> None:
    class Wrong(LICell):
        """Its current does not decay."""

        def step(self, x: Tensor, state: LIFState) -> tuple[Tensor, LIFState]:
            v, _ = super().step(x, state)
            return v, LIFState(v, state.i + x)

    module = type("LICell", (Wrong,), {"forward": Wrong.forward})()
    _, (problem,) = survey_neurons(nn.Sequential(module))
    assert problem.code == "SL0305"
    assert "disagrees with its equation after 2 steps: currents" in problem.what


def test_a_synaptic_current_becomes_that_of_the_integer_neuron() -> None:
    shape = InputShape.parse(f"T,B,{FEATURES}")
    run = compile_model(_built("norse"), shape, None, _frames(6).numpy(), Options("onnx", steps=STEPS), None)
    assert run.quantized is not None
    (op,) = [node.op for node in run.quantized.graph.neurons()]
    assert isinstance(op, IntegerNeuron)
    assert op.current_decay == pytest.approx(0.2 * 4096, abs=1)
    assert op.decay == pytest.approx(0.1 * 4096, abs=1)


def test_an_answer_made_of_potentials_is_refused() -> None:
    class Reads(Handed):
        """Answers with the potentials of a neuron that fires."""

        def forward(self, x: Tensor) -> Any:
            out, mem = super().forward(x)
            return mem, out

    with pytest.raises(UnsupportedError) as caught:
        capture(Reads().eval(), InputShape.parse(f"T,B,{FEATURES}"), REAL)
    assert "reads the potentials of the neuron two" in str(caught.value)


def test_states_that_a_model_hands_on_are_forgotten_by_a_reset() -> None:
    model = _built("norse")
    found = capture(model, InputShape.parse(f"T,B,{FEATURES}"), REAL)
    first = prove_capture(found, _frames(3))
    reset_states(model)
    assert prove_capture(found, _frames(3)) == first


# --- the packages themselves, where they are installed ---------------------------------------------------


def test_snntorch_itself() -> None:
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    resets = ("subtract", "zero", "none")
    made = [
        kind(**{**given, "reset_mechanism": reset})
        for reset in resets
        for kind, given in ((snn.Leaky, {"beta": 0.8}), (snn.Synaptic, {"alpha": 0.5, "beta": 0.9}),
                            (snn.Lapicque, {"beta": 0.7}), (snn.Leaky, {"beta": 0.6, "reset_delay": False}))
    ]  # fmt: skip
    assert len(read_neurons(nn.ModuleList(made))) == 12
    net = nn.Sequential(nn.Linear(FEATURES, 9), snn.Leaky(beta=0.9, init_hidden=True), nn.Linear(9, 3))
    prove_capture(capture(net, InputShape.parse(f"T,B,{FEATURES}"), REAL), _frames(3))


def test_norse_itself() -> None:
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    made = [norse.LIFCell(), norse.LIFBoxCell(), norse.LIF(), norse.IAFCell()]
    assert len(read_neurons(nn.ModuleList(made))) == 4
    net = norse.SequentialState(nn.Linear(FEATURES, 9), norse.LIFBoxCell(), nn.Linear(9, 3))
    prove_capture(capture(net, InputShape.parse(f"T,B,{FEATURES}"), REAL), _frames(3))


def test_braincog_itself() -> None:
    nodes = pytest.importorskip("braincog.base.node.node", reason="BrainCog is not installed")
    made = [nodes.IFNode(), nodes.LIFNode(tau=3.0), nodes.PLIFNode()]
    assert len(read_neurons(nn.ModuleList(made))) == 3
    net = nn.Sequential(nn.Linear(FEATURES, 9), nodes.LIFNode(), nn.Linear(9, 3))
    prove_capture(capture(net, InputShape.parse(f"T,B,{FEATURES}"), REAL), _frames(3))
