"""The oracle passes every sound network, and no single wrong number gets past it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikeloom.compiler.agreement import ask_oracle, compare_free_running, rounded_model, teacher_forced
from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.frontends.torch.capture import Capture, capture
from spikeloom.compiler.frontends.torch.eager import prove_capture, run_eager
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage, Unit
from spikeloom.compiler.graph.kinds import SPIKES, Type, levels
from spikeloom.compiler.graph.op import Array, StatefulOp
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE, IntegerNeuron
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.passes import run_passes
from spikeloom.compiler.passes.canonicalise import CANONICALISE
from spikeloom.compiler.quantize.activity import measure_activity
from spikeloom.compiler.quantize.quantize import Quantized, quantize
from spikeloom.compiler.quantize.thresholds import RoundingBound
from spikeloom.errors import InternalError
from tests.integer_networks import NAMES, PROFILES, STEPS, capture_of, frames_of, quantized
from tests.trained_networks import Convolutional, Network, lif
from tests.trained_nmnist import TrainedNmnist, trained_nmnist

# --- what is sound passes --------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_sound_networks_pass(name: str, profile: str, bits: int) -> None:
    result = quantized(name, profile, bits)
    frames = frames_of(name, seed=6)
    verdict = ask_oracle(capture_of(name), result, frames)
    neurons = sum(result.graph.types[node.name].size for node in result.graph.neurons())
    assert verdict.cells == frames.shape[0] * frames.shape[1] * neurons
    assert verdict.differing < 0.03 * verdict.cells


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "options",
    [{"v_reset": -0.5}, {"v_reset": 0.2, "tau": 3.3}, {"v_reset": None}, {"decay_input": False}],
    ids=str,
)
def test_other_neurons_pass(options: dict[str, Any], profile: str) -> None:
    found, result = _compiled(Convolutional.made(**options), Convolutional, profile)
    assert ask_oracle(found, result, Convolutional.frames()).differing < 100


def _compiled(model: nn.Module, network: type[Network], profile: str) -> tuple[Capture, Quantized]:
    found = capture(model, network.shape(), SPIKES)
    graph = run_passes(found.graph, CANONICALISE)
    return found, quantize(graph, PROFILES[profile](8), measure_activity(graph, network.frames()), STEPS)


class Unusual(Network):
    """Layers that nothing reads, a batch norm that multiplies by zero, a mean before a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.lif1, self.unread, self.unused = lif(), lif(), lif()
        self.mix = nn.Linear(6, 8)
        self.lif2 = lif(v_threshold=0.1)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        steps, samples = x.shape[:2]
        y = self.norm(self.conv(x.flatten(0, 1))).unflatten(0, (steps, samples))
        self.unread(y)
        pooled = self.lif1(y).flatten(-2).mean(-1)
        return self.head(self.lif2(self.mix(pooled)))


@pytest.mark.parametrize("profile", PROFILES)
def test_unusual_networks_pass(profile: str) -> None:
    torch.manual_seed(0)
    model = Unusual().eval()
    model.norm.weight.data = torch.tensor([1.0, 2.0, 0.0, -2.0, 3.0, 1.5])
    model.norm.bias.data = torch.tensor([0.5, 0.5, 2.5, 1.0, 0.1, 1.0])
    model.norm.running_var = torch.full((6,), 0.1)
    model.mix.bias.data += 0.3
    found, result = _compiled(model, Unusual, profile)
    assert found.dead == ("unread", "unused")
    assert ask_oracle(found, result, Unusual.frames()).cells == 5 * 6 * (6 * 16 + 8)


def test_the_user_s_model_is_not_touched() -> None:
    model = capture_of("Convolutional").model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ask_oracle(capture_of("Convolutional"), quantized("Convolutional"), frames_of("Convolutional"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    prove_capture(capture_of("Convolutional"), torch.from_numpy(frames_of("Convolutional")).float())


def test_the_rounded_model_has_the_rounded_weights() -> None:
    """Its weights differ from the trained ones by half a step at most, in every layer."""
    found, result = capture_of("spikformer"), quantized("spikformer")
    model = rounded_model(found, result)
    steps = 0
    for path in found.weights.values():
        trained, rounded = (m.get_parameter(path).detach().double() for m in (found.model, model))
        if trained.ndim > 1:
            largest = trained.flatten(1).abs().amax(1)
            worst = (trained - rounded).flatten(1).abs().amax(1)
            assert (worst <= largest * 0.41).all()  # clipping takes 40 % of the largest at most
            assert (trained - rounded).abs().mean() < 0.01 * largest.mean()
            assert not torch.equal(trained, rounded)
            steps += 1
    assert steps == 10


# --- what is not sound does not --------------------------------------------------------------------------

Change = Callable[[Any], dict[str, Any]]


def _sabotaged(result: Quantized, layer: str, change: Change) -> Quantized:
    nodes = tuple(
        replace(node, op=replace(node.op, **change(node.op))) if node.name == layer else node
        for node in result.graph.nodes
    )
    return replace(result, graph=result.graph.replace(nodes=nodes))


def _found(name: str, result: Quantized, seed: int = 0) -> list[str]:
    with pytest.raises(InternalError) as caught:
        ask_oracle(capture_of(name), result, frames_of(name, seed=seed))
    assert {problem.code for problem in caught.value.problems} == {"SL0506"}
    return [problem.where for problem in caught.value.problems]


def _plus(array: Array, amount: int, at: int | None = None) -> Array:
    changed = np.array(np.broadcast_to(array, array.shape))
    if at is None:
        changed += amount
    else:
        changed.flat[at] += amount
    return changed


def _add_to(field: str, amount: int, op: Any, at: int | None = None) -> dict[str, Any]:
    return {field: _plus(getattr(op, field), amount, at)}


def _inner(array: Array) -> int:
    """The index of a number that is not at the end of the range, where it could be clipped."""
    return int(np.abs(array.astype(int)).argmin())


@pytest.mark.parametrize("name", ["spikformer", "Convolutional", "Attention"])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_single_weight_off_by_one_is_found_in_every_layer(name: str, profile: str) -> None:
    result = quantized(name, profile)
    for grid in result.grids:
        wrong = _sabotaged(result, grid.layer, lambda op: {"weight": _plus(op.weight, 1, _inner(op.weight))})
        (where,) = _found(name, wrong)
        assert where.startswith(f"{grid.layer}, weight [")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_threshold_that_is_off_by_more_than_the_bound_is_found_in_every_layer(
    profile: str, sign: int
) -> None:
    """By the bound and one and a half units of input; the sums of attention are whole units apart."""
    result = quantized("spikformer", profile)
    for layer, bound in result.bounds.items():
        amount = sign * int(bound.decision.max() + 1.5 * 2 ** PROFILES[profile](8).fraction_bits)
        wrong = _sabotaged(result, layer, partial(_add_to, "theta", amount))
        assert any(where.startswith(f"{layer}[") for where in _found("spikformer", wrong)), layer


@pytest.mark.parametrize("amount", [1, -1])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_bias_of_one_channel_is_found_in_every_layer(profile: str, amount: int) -> None:
    """Off by three times the bound of its potential, at least four units."""
    result = quantized("spikformer", profile)
    for layer, bound in result.bounds.items():
        shift = amount * max(4, int(3 * bound.potential.max()))
        wrong = _sabotaged(result, layer, partial(_add_to, "bias", shift, at=0))
        assert any(where.startswith(f"{layer}[") for where in _found("spikformer", wrong)), layer


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("change", [100, -100, 2048])
def test_a_wrong_decay_is_found_in_every_layer(profile: str, change: int) -> None:
    result = quantized("spikformer", profile)
    for layer in result.bounds:
        wrong = _sabotaged(result, layer, lambda op: {"decay": op.decay + change})
        assert any(where.startswith(f"{layer}[") for where in _found("spikformer", wrong)), layer


def test_a_threshold_of_a_single_channel_that_is_off_by_a_little_is_found() -> None:
    """The first spike that is missing for it: its potential is above every declared threshold."""
    result = quantized("spikformer")
    wrong = _sabotaged(result, "patch_embed.stages.0.neuron", lambda op: {"theta": _plus(op.theta, 30, 1)})
    (where,) = _found("spikformer", wrong)
    assert where.startswith("patch_embed.stages.0.neuron[1, ")


@pytest.mark.parametrize(
    ("layer", "change"),
    [
        ("lif1", {"reset": "hard", "reset_by": None}),
        ("lif2", {"fraction_bits": 5}),
        ("lif3", {"decay": 0}),
    ],
)
def test_another_kind_of_neuron_is_found(layer: str, change: dict[str, Any]) -> None:
    found, result = _soft()
    with pytest.raises(InternalError, match=f"SL0506 {layer}"):
        ask_oracle(found, _sabotaged(result, layer, lambda op: change), Convolutional.frames())


def test_a_soft_reset_by_another_amount_is_found() -> None:
    found, result = _soft()
    ask_oracle(found, result, Convolutional.frames())
    wrong = _sabotaged(result, "lif2", lambda op: {"reset_by": op.reset_by + 4})
    with pytest.raises(InternalError, match=r"SL0506 lif2\["):
        ask_oracle(found, wrong, Convolutional.frames())


def _soft() -> tuple[Capture, Quantized]:
    if not _SOFT:
        _SOFT.append(_compiled(Convolutional.made(v_reset=None), Convolutional, "onnx"))
    return _SOFT[0]


_SOFT: list[tuple[Capture, Quantized]] = []


def test_a_bias_of_the_readout_is_found() -> None:
    wrong = _sabotaged(quantized("spikformer"), "head", lambda op: {"bias": _plus(op.bias, 1, 2)})
    (where,) = _found("spikformer", wrong)
    assert where == "head[2]"


def test_a_wrong_unit_of_the_output_is_found() -> None:
    result = quantized("Convolutional")
    (output,) = result.graph.outputs
    unit = result.graph.units[output]
    for wrong in (Unit(unit.scale * 1.01, unit.offset), Unit(unit.scale, unit.offset + 0.1)):
        units = {**result.graph.units, output: wrong}
        (where,) = _found("Convolutional", replace(result, graph=result.graph.replace(units=units)))
        assert where.startswith(f"{output}[")


def test_branches_that_are_exchanged_are_found() -> None:
    """A structural fault: the residual adds the same spikes twice."""
    result = quantized("Convolutional")
    nodes = tuple(
        replace(node, inputs=(node.inputs[1], node.inputs[1])) if node.name == "add" else node
        for node in result.graph.nodes
    )
    assert any(where.startswith("lif3[") for where in _found(
        "Convolutional", replace(result, graph=result.graph.replace(nodes=nodes))
    ))  # fmt: skip


def test_weights_that_are_computed_from_parameters_are_reported() -> None:
    class Computed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.raw = nn.Parameter(torch.rand(6, 6))
            self.lif = lif(v_threshold=0.3)

        def forward(self, x: Tensor) -> Any:
            return self.lif(nn.functional.linear(x, self.raw.clamp(0.1, 0.9)))

    found = capture(Computed(), InputShape.parse("T,B,6"), SPIKES)
    graph = run_passes(found.graph, CANONICALISE)
    frames = np.random.default_rng(0).integers(0, 2, (5, 4, 6)).astype(np.uint8)
    result = quantize(graph, PROFILES["onnx"](8), measure_activity(graph, frames), STEPS)
    with pytest.raises(InternalError, match="SL0506 linear: its weights are no parameter"):
        ask_oracle(found, result, frames)


# --- free running ----------------------------------------------------------------------------------------


def test_free_running_counts_every_difference() -> None:
    """Against itself nothing differs; against outputs and spikes turned over, everything does."""
    found, result = capture_of("BatchFirst"), quantized("BatchFirst")
    frames = frames_of("BatchFirst")
    output, spikes = run_eager(found.model, found.input_shape, torch.from_numpy(frames).float())
    arrays = {name: s.numpy() for name, s in spikes.items()}
    agreement = compare_free_running(output.numpy(), arrays, result.graph, frames)
    assert (agreement.samples, agreement.steps) == (6, 5)
    (layer,) = agreement.layers
    assert layer.layer == "lif"
    assert layer.cells == 5 * 6 * 96
    assert layer.flips < 0.02 * layer.cells
    assert layer.rate_trained == pytest.approx(arrays["lif"].mean())
    turned = compare_free_running(-output.numpy(), {"lif": 1 - arrays["lif"]}, result.graph, frames)
    assert turned.layers[0].flips == layer.cells - layer.flips
    assert turned.predictions == 0
    document = agreement.to_json()
    assert document["predictions"] == agreement.predictions
    assert document["layers"][0]["flips"] == layer.flips


def test_free_running_counts_graded_spikes_of_a_late_layer_by_hand() -> None:
    """Counts of 0 to 3 that stand for quarters, one step late: each that differs by a quarter is a flip."""
    builder = GraphBuilder("late", Stage.INTEGER, "onnx")
    x = builder.input("x", Type((1,), levels(3)))
    (pair,) = builder.add("pair", TimeWindow(2, 0, ahead=1), x)
    theta = np.arange(3)[:, None]
    op = IntegerNeuron(theta, np.array([0]), DECAY_ONE, 0)  # forgets at once: as many spikes as it gets
    (counts,) = builder.add("lif", op, pair)
    builder.units["lif"] = Unit(np.array(0.25), np.array(0.0))
    builder.output(counts)
    frames = np.array([3, 0, 1, 2, 0], np.uint8)[:, None, None]
    trained = np.array([[3, 0], [0, 1], [1, 2], [2, 0]])[:, None] / 4
    same = compare_free_running(trained, {"lif": trained}, builder.build(), frames)
    assert [(layer.cells, layer.flips) for layer in same.layers] == [(8, 0)]
    other = trained.copy()
    other[1:3, 0, 1] += 0.25
    differs = compare_free_running(trained, {"lif": other}, builder.build(), frames)
    assert [(layer.cells, layer.flips) for layer in differs.layers] == [(8, 2)]


def test_a_decision_is_judged_from_the_membrane_of_the_integers_by_hand() -> None:
    """The integer potential gains 9 a step and fires above 99, at step 12; the trained one gains 10.

    From the integers' 90 the trained neuron reaches 100 one step too early, its only decision that differs.
    On a membrane of its own it would fire at step 10, and not at step 12.
    """

    def network(stage: Stage, op: StatefulOp) -> Graph:
        builder = GraphBuilder("sum", stage, "onnx")
        x = builder.input("x", Type((1,), levels(255)))
        builder.output(builder.add("lif", op, x)[0])
        builder.units["lif"] = Unit(np.array(1.0), np.array(0.0))
        return builder.build()

    integer = network(Stage.INTEGER, IntegerNeuron(np.array([[99]]), np.array([-1]), 0, 0, horizon=12))
    one, none = np.ones(1), np.zeros(1)
    made = Quantized(integer, {"lif": RoundingBound(one, none, none, none, none, 0.0)}, (), {})
    frames = np.full((12, 1, 1), 10, np.uint8)
    trained = network(Stage.CANONICAL, Neuron(decay=1.0, gain=1.0, threshold=99.5))
    verdict = teacher_forced(trained, made, frames, frames)
    assert (verdict.cells, verdict.differing, verdict.shares) == (12, 1, {"lif": 1 / 12})


# --- the trained network and its recordings --------------------------------------------------------------


@pytest.fixture(scope="module")
def nmnist(data: Path) -> TrainedNmnist:
    return trained_nmnist(data)


def _predictions(output: Array) -> Array:
    answers: Array = output.sum(0).argmax(1)
    return answers


def test_the_float_network_is_right_on_59_of_60(nmnist: TrainedNmnist) -> None:
    """As PyTorch computes it (SOURCES.md of the data)."""
    assert (_predictions(nmnist.output) == nmnist.labels).sum() == 59


def test_the_capture_of_the_trained_network_is_exact(nmnist: TrainedNmnist) -> None:
    proof = prove_capture(nmnist.capture, torch.from_numpy(nmnist.frames).float())
    assert proof.cells == 60 * 5 * (10_168 + 10)


@pytest.mark.parametrize("target", ["onnx", "loihi2"])
def test_the_oracle_passes_the_trained_network_on_all_recordings(nmnist: TrainedNmnist, target: str) -> None:
    verdict = ask_oracle(nmnist.capture, nmnist.quantized(target), nmnist.frames)
    assert verdict.cells == 60 * 5 * 10_168
    assert verdict.differing < 1e-4 * verdict.cells


@pytest.mark.parametrize("target", ["onnx", "loihi2"])
def test_the_integer_network_is_right_within_one_recording(nmnist: TrainedNmnist, target: str) -> None:
    graph = nmnist.quantized(target).graph
    agreement = compare_free_running(nmnist.output, nmnist.spikes, graph, nmnist.frames)
    labelled = np.eye(10)[nmnist.labels][None]  # evidence that is always right
    right = compare_free_running(labelled, {}, graph, nmnist.frames).predictions
    assert abs(right - 59) <= 1
    assert agreement.predictions >= 57
    assert len(agreement.layers) == 10
    for layer in agreement.layers:
        assert layer.rate_integer > 0.05
        assert layer.rate_integer == pytest.approx(layer.rate_trained, rel=0.05)
        assert layer.flips < 0.1 * layer.cells
