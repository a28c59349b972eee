"""Capture and integer forms of memories that fade by what the data say."""

from __future__ import annotations

import importlib
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
from spikeloom.compiler.frontends.torch.gated import gated_state
from spikeloom.compiler.frontends.torch.legacy import legacy_imports
from spikeloom.compiler.graph.kinds import REAL
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.gated_state import GatedState
from spikeloom.compiler.pipeline import Compilation, Options, compile_model
from spikeloom.errors import InputError, UnsupportedError
from spikeloom.runtime.engines import open_engine

SHAPE, STEPS, WIDTH, HEADS = InputShape.parse("B,T,8"), 12, 8, 2

with legacy_imports():
    gla: Any = importlib.import_module("fla.ops.gla")
chunk_gla, fused_recurrent_gla = gla.chunk_gla, gla.fused_recurrent_gla


class _Block(nn.Module):
    """A token of eight features at each step; its queries and keys are spikes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.q, self.k, self.v, self.g = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.out = nn.Linear(WIDTH, 4)
        self.lif = neuron.LIFNode(tau=2.0, step_mode="m", detach_reset=True)

    def spikes(self, x: Tensor) -> Any:
        return self.lif(4 * x.transpose(0, 1)).transpose(0, 1)

    def heads(self, x: Tensor) -> Tensor:
        y: Tensor = x.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]
        return y

    def joined(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)


class _GatedAttention(_Block):
    """Gated linear attention, one gate for each key: the equations of SpikingBrain's layers."""

    def forward(self, x: Tensor) -> Any:
        s = self.spikes(x)
        q, k = self.heads(torch.relu(self.q(s))), self.heads(torch.relu(self.k(s)))
        gate = functional.logsigmoid(self.heads(self.g(s))) / 4
        o, _ = chunk_gla(q, k, self.heads(self.v(x)), gate)
        return self.out(self.joined(o))


class _TokensFirst(_Block):
    """The same with heads behind the tokens, and one gate for each head."""

    def forward(self, x: Tensor) -> Any:
        s = self.spikes(x)
        q, k, v = (f(s).unflatten(-1, (HEADS, -1)) for f in (self.q, self.k, self.v))
        gate = functional.logsigmoid(self.g(s).unflatten(-1, (HEADS, -1))[..., :1])
        o, _ = fused_recurrent_gla(q, k, v, gate.expand_as(k), scale=0.5, head_first=False)
        return self.out(o.flatten(2))


class _SelectiveScan(_Block):
    """h <- exp(delta A) h + delta u B ;  y = C h: Mamba's scan, a gate for each key and value."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("a", -torch.rand(1, WIDTH, 3) - 0.1)
        self.b, self.c = nn.Linear(WIDTH, 3), nn.Linear(WIDTH, 3)

    a: Tensor

    def forward(self, x: Tensor) -> Any:
        s = self.spikes(x)
        delta = functional.softplus(self.g(s))
        gate = torch.exp(delta.unsqueeze(-1) * self.a).transpose(-2, -1).unsqueeze(1)
        b, c, u = (y.unsqueeze(1) for y in (self.b(s), self.c(s), delta * self.v(x)))
        return self.out(gated_state(c, b, u, gate).squeeze(1))


class _Counts(_Block):
    """Pairs of spikes, counted, of which half is left after a step."""

    def forward(self, x: Tensor) -> Any:
        s = self.heads(self.spikes(x))
        return self.out(self.joined(gated_state(s, s, s, 0.5 * s)))


MODELS = [_GatedAttention, _TokensFirst, _SelectiveScan]


def _frames(samples: int = 5) -> Array:
    return np.random.default_rng(6).normal(0.3, 1, (STEPS, samples, WIDTH)).astype(np.float32)


def _compiled(model: type[_Block]) -> Compilation:
    return compile_model(model(), SHAPE, None, _frames(), Options("onnx", steps=STEPS), None)


@pytest.mark.parametrize("model", MODELS)
def test_they_are_captured_exactly(model: type[_Block]) -> None:
    found = capture(model().eval(), SHAPE, REAL)
    assert prove_capture(found, torch.from_numpy(_frames())).cells > 0
    (state,) = (node for node in found.graph.nodes if isinstance(node.op, GatedState))
    assert found.graph.types[state.output].size < 50  # whatever the number of tokens


@pytest.mark.parametrize("model", MODELS)
def test_integers_come_near_and_engines_agree_exactly(model: type[_Block]) -> None:
    run = _compiled(model)
    entries = {entry["stage"]: entry for entry in run.ledger.to_json()}
    assert entries["onnx/sequence.onnx"]["differing"] == 0
    assert run.quantized is not None
    assert run.inputs is not None
    assert run.capture is not None
    graph = run.quantized.graph
    frames = run.inputs.frames
    answers = []
    for name in ("reference", "event"):
        engine = open_engine(name, graph, {})
        engine.reset(frames.shape[1])
        parts = [engine.run(part).output for part in np.split(frames, [5])]
        answers.append(np.concatenate(parts))
    assert np.array_equal(answers[0], answers[1])
    unit = graph.units[graph.outputs[0]]
    got = answers[0] * unit.scale + unit.offset
    with torch.no_grad():
        wanted = run.capture.model(torch.from_numpy(_frames()).transpose(0, 1)).transpose(0, 1).numpy()
    run.capture.model.lif.reset()  # type: ignore[union-attr, operator]
    apart = np.abs(got - wanted) / np.abs(wanted).max()
    assert np.median(apart) < 0.01  # spikes that flip are few


def test_a_gated_state_is_the_sum_that_linear_attention_defines() -> None:
    rng = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(2, 3, 7, 4, generator=rng) for _ in range(3))
    decay = torch.rand(2, 3, 7, 4, generator=rng).log()
    o, _ = fused_recurrent_gla(q, k, v, decay)
    total = decay.double().cumsum(2)
    for t in range(7):
        weights = torch.exp(total[:, :, t : t + 1] - total[:, :, : t + 1]) * k[:, :, : t + 1].double()
        scores = (q[:, :, t : t + 1].double() * weights).sum(-1) / 2  # the scale is 1 / sqrt(4)
        wanted = (scores.unsqueeze(-1) * v[:, :, : t + 1].double()).sum(2)
        torch.testing.assert_close(o[:, :, t].double(), wanted, rtol=1e-4, atol=1e-5)


def test_what_is_not_stood_in_for_is_refused() -> None:
    q = torch.ones(1, 1, 2, 1)
    with pytest.raises(InputError, match="initial state"):
        fused_recurrent_gla(q, q, q, q, initial_state=q)
    with pytest.raises(InputError, match="cu_seqlens"):
        chunk_gla(q, q, q, q, cu_seqlens=q)


def test_a_target_without_a_host_refuses_it_by_name() -> None:
    with pytest.raises(UnsupportedError) as error:
        compile_model(_Counts(), SHAPE, None, _frames(), Options("loihi2", steps=STEPS), None)
    said = [problem for problem in error.value.problems if "gated_state" in problem.where]
    assert said
    assert said[0].remedy == "compile for the target onnx"
