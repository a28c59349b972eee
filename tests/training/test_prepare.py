"""Fine-tuning on the integers: what PyTorch computes is what is compiled, before and after training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

import spikeloom
from spikeloom.compiler.frontends.torch.axes import InputShape, Lead
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.pipeline import Options, compile_model
from spikeloom.compiler.training.layers import NeuronLayer, WeightLayer
from spikeloom.compiler.training.network import PreparedNetwork
from spikeloom.errors import InputError, UnsupportedError
from tests.frontends import test_along_time as along
from tests.frontends import test_host as host
from tests.frontends import test_memoryless as memoryless
from tests.frontends import test_time_and_masks as masks
from tests.trained_networks import (
    SMALL,
    SPIKFORMER_SHAPE,
    Convolutional,
    Network,
    spikformer,
    spikformer_frames,
)

STEPS = 5


@dataclass(frozen=True)
class Case:
    """A network, its input and what it may be compiled for."""

    model: Callable[[], nn.Module]
    shape: InputShape
    inputs: Array
    targets: tuple[str, ...] = ("onnx", "loihi2")


def _random(shape: InputShape) -> Array:
    rng = np.random.default_rng(3)
    if not shape.lead.has_time:
        return rng.random((6, *shape.sample), np.float32)
    return (rng.random((STEPS, 6, *shape.sample)) < 0.5).astype(np.float32)


def _small(network: type[Network]) -> Case:
    return Case(network.made, network.shape(), network.frames())


class _Words(nn.Module):
    """Tokens that bytes do not hold, as integers; a neuron along them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.fc = nn.Embedding(70_000, 6), nn.Linear(6, 6)
        self.lif = neuron.LIFNode(tau=2.0, v_threshold=0.2, step_mode="m")
        self.head = nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        current = self.fc(self.table(tokens)).transpose(0, 1)
        answer: Tensor = self.head(self.lif(current).transpose(0, 1))
        return answer


ONNX_ONLY = ("onnx",)
CASES = {
    "spikformer": Case(spikformer, SPIKFORMER_SHAPE, spikformer_frames()),
    **{network.__name__: _small(network) for network in SMALL},
    **{
        model.__name__.strip("_"): Case(model, shape, _random(shape), ONNX_ONLY)
        for model, shape in masks.MODELS
        if model is not masks._Windows  # means of windows have no integer form
    },
    **{
        model.__name__.strip("_"): Case(model, host.SHAPE, host._frames(), ONNX_ONLY) for model in host.MODELS
    },
    **{
        name: Case(model, InputShape.parse(shape), along._frames(6).numpy(), ONNX_ONLY)
        for name, (model, shape, _, _) in along.CASES.items()
    },
    "Words": Case(
        _Words,
        InputShape.parse("B,T"),
        np.random.default_rng(3).integers(0, 70_000, (STEPS, 6)),
        ONNX_ONLY,
    ),
    "Graded": Case(memoryless._Net, InputShape.parse("T,B,6"), _random(InputShape.parse("T,B,6")), ONNX_ONLY),
}
WIDTHS = {"onnx": 3, "loihi2": 4}
SETTINGS = [(name, target, WIDTHS[target]) for name, case in CASES.items() for target in case.targets]
SETTINGS += [("spikformer", "onnx", 8), ("Convolutional", "onnx", 8)]


@cache
def _prepared(name: str, target: str, bits: int) -> PreparedNetwork:
    case = CASES[name]
    options = Options(target, bits, silence=True)
    return spikeloom.prepare(case.model(), case.shape, case.inputs, options=options)


def _x(name: str) -> Tensor:
    """The calibration inputs as the network takes them."""
    case = CASES[name]
    x = torch.from_numpy(np.asarray(case.inputs, np.float32))
    return x.transpose(0, 1) if case.shape.lead is Lead.BATCH_TIME else x


def _mismatches(prepared: PreparedNetwork, x: Tensor) -> tuple[int, int, int]:
    """Spikes that differ from the integer graph's, outputs that do, and how many spikes there are."""
    prepared.eval()
    with torch.no_grad():
        spikes, output = prepared.spikes(x), prepared(x)
    frames = prepared.encode(x).numpy().astype(np.int64)
    graph = prepared.graph()
    run = Interpreter(graph)
    run.reset(frames.shape[1])
    wanted = [run.step(frame) for frame in frames]
    apart = sum(
        int((train.numpy() != np.stack([step[name] for step in wanted])).sum())
        for name, train in spikes.items()
    )
    answer = _answer(graph, [step[graph.outputs[0]] for step in wanted], prepared.input_shape)
    wrong = int((output.numpy() != answer.astype(np.float32)).sum())
    return apart, wrong, sum(int(train.sum()) for train in spikes.values())


def _answer(graph: Graph, outputs: list[Array], shape: InputShape) -> Array:
    unit = graph.units[graph.outputs[0]]
    real: Array = np.stack(outputs) * unit.scale + unit.offset
    if graph.answers_at_the_end:
        real = real[-1]
    else:
        real = real[graph.latency :]
        if shape.lead is Lead.BATCH_TIME:
            real = real.swapaxes(0, 1)
    return real


def _train(prepared: PreparedNetwork, x: Tensor, rate: float = 3e-3, epochs: int = 4) -> list[float]:
    """Fine-tune toward the answers of other samples; the losses."""
    prepared.train()
    optimizer = torch.optim.AdamW(prepared.parameters(), rate)
    with torch.no_grad():
        wanted = prepared(x).roll(1, 0 if prepared.input_shape.lead is Lead.BATCH else 1)
    losses = []
    for _ in range(epochs):
        loss = (prepared(x) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# --- zero mismatches --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "target", "bits"), SETTINGS)
def test_spikes_are_those_of_the_integer_graph(name: str, target: str, bits: int) -> None:
    prepared, x = _prepared(name, target, bits), _x(name)
    apart, wrong, spikes = _mismatches(prepared, x)
    assert (apart, wrong) == (0, 0)
    assert spikes > 0
    _train(prepared, x)
    apart, wrong, spikes = _mismatches(prepared, x)
    assert (apart, wrong) == (0, 0)
    assert spikes > 0


@pytest.mark.parametrize("name", ["spikformer", "Convolutional", "RepeatsInside"])
def test_before_training_it_is_what_would_be_compiled(name: str) -> None:
    case = CASES[name]
    prepared = spikeloom.prepare(case.model(), case.shape, case.inputs, bits=4)
    run = compile_model(
        case.model(), case.shape, None, case.inputs, Options("onnx", 4, stop_after="integer"), None
    )
    assert run.quantized is not None
    _assert_same(prepared.graph(), run.quantized.graph)


def _assert_same(a: Graph, b: Graph) -> None:
    assert [node.name for node in a.nodes] == [node.name for node in b.nodes]
    for first, second in zip(a.nodes, b.nodes, strict=True):
        for field in ("weight", "bias", "factor", "offset"):
            np.testing.assert_array_equal(getattr(first.op, field, None), getattr(second.op, field, None))
        if isinstance(first.op, IntegerNeuron) and isinstance(second.op, IntegerNeuron):
            one, other = np.broadcast_arrays(first.op.theta, second.op.theta)
            np.testing.assert_array_equal(one, other)


def test_float_noise_of_single_precision_changes_no_weight() -> None:
    """Weights half-way between two integers, which float32 puts on the other side."""
    step = np.array([1 / 3])
    trained = (np.arange(-126, 126) + 0.5)[None] * step[0] * (1 + 1e-12)
    op = Linear(np.clip(np.rint(trained / step), -127, 127).astype(np.int8))
    layer = WeightLayer(op, trained, step, 8)
    np.testing.assert_array_equal(layer.operation().weight, op.weight)


# --- training ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["onnx", "loihi2"])
def test_training_lowers_the_loss(target: str) -> None:
    """Other targets of the same size as the answers, on frames that differ."""
    prepared = spikeloom.prepare(
        Convolutional.made(), Convolutional.shape(), Convolutional.frames(), target=target, bits=3
    )
    losses = _train(prepared, _x("Convolutional"), rate=0.01, epochs=40)
    assert min(losses[-5:]) < 0.7 * losses[0]


def test_every_parameter_learns_something() -> None:
    prepared = spikeloom.prepare(Convolutional.made(), Convolutional.shape(), Convolutional.frames(), bits=4)
    _train(prepared, _x("Convolutional"), epochs=1)
    silent = [name for name, p in prepared.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent
    assert {type(layer) for layer in prepared.layers.values()} == {WeightLayer, NeuronLayer}


def test_training_stays_on_the_grid() -> None:
    profile = find_target("loihi2").profile(4)
    prepared = _prepared("spikformer", "loihi2", 4)
    _train(prepared, _x("spikformer"), rate=0.05)
    for node in prepared.graph().nodes:
        if isinstance(node.op, IntegerNeuron):
            assert not (node.op.theta % 64).any()
            assert profile.threshold_groups is not None
            assert len(np.unique(node.op.theta)) <= profile.threshold_groups
        weight = getattr(node.op, "weight", None)
        if weight is not None:
            assert np.abs(weight.astype(int)).max() <= 7
    assert not find_target("loihi2").obstacles(prepared.graph())


def test_a_gradient_is_that_of_the_trained_network() -> None:
    """Where rounding changes no spike, both networks have the same surrogate gradient."""
    torch.manual_seed(0)
    model = Convolutional.made(v_reset=None)
    x = _x("Convolutional")
    prepared = spikeloom.prepare(model, Convolutional.shape(), Convolutional.frames(), bits=8)
    head: Any = prepared.layers["head"]
    prepared(x).square().sum().backward()
    model(x).square().sum().backward()
    trained: Any = model.head
    cosine = torch.nn.functional.cosine_similarity(
        head.weight.grad.flatten(), trained.weight.grad.flatten(), dim=0
    )
    assert cosine > 0.99


def test_it_can_be_saved_and_loaded() -> None:
    case = CASES["Convolutional"]
    first, second = (spikeloom.prepare(case.model(), case.shape, case.inputs, bits=4) for _ in range(2))
    _train(first, _x("Convolutional"))
    second.load_state_dict(first.state_dict())
    _assert_same(first.graph(), second.graph())


def test_the_model_is_left_as_it_was() -> None:
    model = Convolutional.made()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prepared = spikeloom.prepare(model, Convolutional.shape(), Convolutional.frames())
    _train(prepared, _x("Convolutional"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_own_surrogate_is_taken() -> None:
    asked: list[Tensor] = []

    def own(x: Tensor) -> Tensor:
        asked.append(x)
        return torch.sigmoid(x)

    case = CASES["Convolutional"]
    spikeloom.prepare(case.model(), case.shape, case.inputs, surrogate=own)(_x("Convolutional"))
    assert len(asked) == 3 * STEPS


# --- compiling --------------------------------------------------------------------------------------------


def test_a_trained_network_compiles_to_what_it_computes(tmp_path: Path) -> None:
    case = CASES["spikformer"]
    prepared = spikeloom.prepare(case.model(), case.shape, case.inputs, bits=3)
    x = _x("spikformer")
    _train(prepared, x)
    frames = np.asarray(case.inputs)
    run = compile_model(prepared, case.shape, None, frames, Options("onnx", 3), tmp_path / "tuned.loom")
    entry = next(c for c in run.ledger.to_json() if c["against"] == "fine-tuned network in PyTorch")
    assert entry["tolerance"] == "zero"
    assert entry["differing"] == 0 < entry["cells"]
    _assert_same(prepared.graph(), spikeloom.load(tmp_path / "tuned.loom").graph)


def test_another_target_is_refused() -> None:
    case = CASES["Convolutional"]
    with pytest.raises(InputError, match=r"SL0901 --target: .*another target"):
        compile_model(
            _prepared("Convolutional", "onnx", 3), case.shape, None, case.inputs, Options("loihi2", 3), None
        )


def test_an_overflow_after_training_is_named() -> None:
    case = CASES["Convolutional"]
    prepared = spikeloom.prepare(case.model(), case.shape, case.inputs, target="loihi2")
    layer: Any = prepared.layers["lif2"]
    layer._op = replace(layer._op, state_bits=12)
    with pytest.raises(UnsupportedError, match=r"SL0503 lif2.*after training.*smaller learning rate"):
        prepared.graph()
