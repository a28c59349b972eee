"""Capture and integer forms of what no spike drives: norms, gates, softmax, quotients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn
from torch.nn import functional

from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.frontends.torch.capture import capture
from spikeloom.compiler.frontends.torch.eager import prove_capture
from spikeloom.compiler.graph.kinds import REAL
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.elementwise import FUNCTIONS, Elementwise
from spikeloom.compiler.pipeline import Compilation, Options, compile_model
from spikeloom.errors import UnsupportedError
from spikeloom.runtime.engines import open_engine

SHAPE, STEPS = InputShape.parse("T,B,6,8"), 5


class _Host(nn.Module):
    """Six tokens of eight features at each step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.fc, self.out = nn.Linear(8, 8), nn.Linear(8, 4)
        self.norm, self.last = nn.LayerNorm(8), nn.LayerNorm(8)
        nn.init.uniform_(self.norm.weight, -2, 2)
        nn.init.uniform_(self.norm.bias, -1, 1)
        self.rms = nn.RMSNorm(8, eps=1e-5)
        self.lif = neuron.LIFNode(tau=2.0, step_mode="m", detach_reset=True)

    def spikes(self, x: Tensor) -> Any:
        return self.lif(2 * self.fc(x))


class _Norms(_Host):
    def forward(self, x: Tensor) -> Any:
        spikes = self.spikes(self.norm(x))
        return self.out(self.last(spikes + 0.3 * self.rms(x)))


class _Softmax(_Host):
    """Attention with a softmax."""

    def forward(self, x: Tensor) -> Any:
        q, k = self.spikes(x), self.fc(x)
        shares = (q @ k.transpose(-2, -1) / 8**0.5).softmax(-1)
        return self.out(shares @ x)


class _Gates(_Host):
    def forward(self, x: Tensor) -> Any:
        spikes = self.spikes(x)
        gate = torch.sigmoid(self.fc(x)) * torch.square(torch.relu(self.fc(spikes)))
        return self.out(
            functional.gelu(gate) + functional.silu(x) - functional.elu(x) * torch.tanh(gate) ** 2
        )


class _Quotient(_Host):
    """Linear attention: a sum of keys below the line."""

    def forward(self, x: Tensor) -> Any:
        q, k = functional.elu(self.fc(x)) + 1, torch.exp(0.3 * self.fc(self.spikes(x)))
        total = (q * k.sum(-2, keepdim=True)).sum(-1, keepdim=True) + 1e-6
        return self.out(q @ (k.transpose(-2, -1) @ x) / total) * (1 / (2 + q))[..., :4]


class _Window(_Host):
    """Attention of each token to itself and the two before it, as sliding windows have it."""

    def __init__(self) -> None:
        super().__init__()
        distance = torch.arange(6)[:, None] - torch.arange(6)[None]
        self.register_buffer("hidden", (distance < 0) | (distance > 2))

    hidden: Tensor

    def forward(self, x: Tensor) -> Any:
        scores = self.spikes(x) @ self.fc(x).transpose(-2, -1) / 8**0.5
        first = scores.masked_fill(self.hidden, float("-inf")).softmax(-1)
        bias = torch.where(self.hidden, float("-inf"), 0.25 * torch.arange(6))
        return self.out((first + (scores + bias).softmax(-1)) @ x)


class _Rotary(_Host):
    """Positions as angles of complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        angles = torch.arange(6)[:, None] / 10.0 ** (torch.arange(4) / 4)
        self.register_buffer("turns", torch.stack([angles.cos(), angles.sin()], -1))

    turns: Tensor

    def rotated(self, x: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(torch.view_as_complex(self.turns) * pairs).flatten(-2)

    def forward(self, x: Tensor) -> Any:
        q, k = self.rotated(self.spikes(x)), self.rotated(functional.elu(self.fc(x)))
        return self.out(torch.sigmoid(q @ k.transpose(-2, -1) / 8) @ x)


MODELS = [_Norms, _Softmax, _Gates, _Quotient, _Window, _Rotary]


def _frames(samples: int = 3) -> Array:
    return np.random.default_rng(12).normal(0.3, 1, (STEPS, samples, 6, 8)).astype(np.float32)


def _compiled(model: type[_Host]) -> Compilation:
    return compile_model(model(), SHAPE, None, _frames(), Options("onnx", steps=STEPS), None)


@pytest.mark.parametrize("model", MODELS)
def test_they_are_captured_exactly(model: type[_Host]) -> None:
    found = capture(model().eval(), SHAPE, REAL)
    assert prove_capture(found, torch.from_numpy(_frames())).cells > 0
    assert any(node.op.work == "host" for node in found.graph.nodes)


@pytest.mark.parametrize("model", MODELS)
def test_integers_come_near_and_engines_agree_exactly(model: type[_Host]) -> None:
    run = _compiled(model)
    entries = {entry["stage"]: entry for entry in run.ledger.to_json()}
    assert entries["onnx/sequence.onnx"]["differing"] == 0
    assert run.quantized is not None
    assert run.inputs is not None
    assert run.capture is not None
    graph = run.quantized.graph
    engine = open_engine("reference", graph, {})
    engine.reset(3)
    unit = graph.units[graph.outputs[0]]
    got = engine.run(run.inputs.frames).output * unit.scale + unit.offset
    with torch.no_grad():
        wanted = run.capture.model(torch.from_numpy(_frames())).numpy()
    assert np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_are_those_of_pytorch(name: str) -> None:
    call = getattr(functional, name, None) or getattr(torch, name)
    x = np.linspace(-9, 9, 500)[None]
    (got,) = Elementwise(name).evaluate(x)
    np.testing.assert_allclose(got, call(torch.from_numpy(x)).numpy(), rtol=1e-7, atol=1e-12)


class _OtherGelu(_Host):
    def forward(self, x: Tensor) -> Any:
        return functional.gelu(self.spikes(x), approximate="tanh")


class _Cube(_Host):
    def forward(self, x: Tensor) -> Any:
        return self.spikes(x) ** 3


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (_OtherGelu, "it is called with another approximate"),
        (_Cube, "it takes the power 3"),
    ],
)
def test_other_forms_are_refused(model: type[_Host], named: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        capture(model().eval(), SHAPE, REAL)
    assert named in str(caught.value)


def test_a_chip_without_a_host_refuses_them_by_name() -> None:
    with pytest.raises(UnsupportedError) as caught:
        compile_model(_Norms(), SHAPE, None, _frames(), Options("loihi2", steps=STEPS), None)
    assert "SL0501" in str(caught.value)
    assert "is not spike-driven" in str(caught.value)


class _AllHidden(_Host):
    def forward(self, x: Tensor) -> Any:
        hidden = torch.ones(6, 6, dtype=torch.bool)
        return self.out((self.fc(x) @ x.transpose(-2, -1)).masked_fill(hidden, float("-inf")).softmax(-1) @ x)


class _MaskElsewhere(_Host):
    def forward(self, x: Tensor) -> Any:
        hidden = torch.ones(6, 6, dtype=torch.bool).triu(1)
        return self.out((self.fc(x) @ x.transpose(-2, -1)).masked_fill(hidden, -1e9).sigmoid() @ x)


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (_AllHidden, "all elements of a row are minus infinity"),
        (_MaskElsewhere, "which only a softmax takes"),
    ],
)
def test_masks_that_mean_nothing_are_refused(model: type[_Host], what: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"SL0302 test_host.py:\d+: .*{what}"):
        capture(model().eval(), SHAPE, REAL)


class _Cloud(nn.Module):
    """Points [T, B, 3, 16]: a map of each, and the largest of all, before the neuron or behind it."""

    def __init__(self, before: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.before = before
        self.map, self.out = nn.Conv1d(3, 8, 1), nn.Linear(8, 4)
        self.lif = neuron.LIFNode(tau=2.0, v_threshold=0.4, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        points = self.map(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        if self.before:
            y: Tensor = self.out(self.lif(points.amax(-1)))
        else:
            y = self.out(self.lif(points).max(dim=-1)[0])
        return y


@pytest.mark.parametrize("before", [True, False])
def test_the_largest_of_all_points(before: bool) -> None:
    frames = np.random.default_rng(5).normal(0.3, 1, (STEPS, 3, 3, 16)).astype(np.float32)
    shape = InputShape.parse("T,B,3,16")
    run = compile_model(_Cloud(before), shape, None, frames, Options("onnx", steps=STEPS), None)
    entries = {entry["stage"]: entry for entry in run.ledger.to_json()}
    assert entries["captured graph"]["differing"] == entries["onnx/sequence.onnx"]["differing"] == 0
    assert run.activity is not None
    assert 0.05 < run.activity.rates["lif"] < 0.9


class _ClassToken(_Host):
    """A token of its own before the others, positions added, and gone again before the end."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.linspace(-1, 1, 8).view(1, 1, 8))
        self.places = nn.Parameter(torch.linspace(0, 1, 56).view(1, 7, 8))

    def forward(self, x: Tensor) -> Any:
        spikes = self.spikes(x).flatten(0, 1)
        tokens = torch.cat((self.token.expand(len(spikes), -1, -1), spikes), dim=1) + self.places
        scores = (self.fc(tokens) @ tokens.transpose(-2, -1)).unflatten(0, x.shape[:2])
        return scores[..., 1:, :]


def test_constants_beside_a_value() -> None:
    run = _compiled(_ClassToken)
    entries = {entry["stage"]: entry for entry in run.ledger.to_json()}
    assert entries["captured graph"]["differing"] == entries["onnx/sequence.onnx"]["differing"] == 0
    assert entries["captured graph"]["cells"] > 0
