"""Attention that is one call, among the tokens of a step and along the steps; spike counts of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn
from torch.nn import functional

from spikeloom.compiler.frontends.torch.attention import attend_before, window_of
from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.frontends.torch.capture import capture
from spikeloom.compiler.frontends.torch.eager import prove_capture
from spikeloom.compiler.graph.kinds import REAL
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.count_code import CountCode
from spikeloom.compiler.graph.ops.window_softmax import WindowSoftmax
from spikeloom.compiler.pipeline import Compilation, Options, compile_model
from spikeloom.errors import UnsupportedError
from spikeloom.runtime.engines import open_engine

STEPS, WIDTH, HEADS = 12, 8, 2
AMONG, ALONG = InputShape.parse("T,B,6,8"), InputShape.parse("B,T,8")


class _Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.out = nn.Linear(WIDTH, 4)
        self.lif = neuron.LIFNode(tau=2.0, step_mode="m", detach_reset=True)


class _Among(_Layers):
    """Six tokens at each step; all of them, those before, and masks of both kinds."""

    def forward(self, x: Tensor) -> Any:
        s = self.lif(2 * x)
        q, k, v = (f(s).unflatten(-1, (HEADS, -1)).transpose(-3, -2) for f in (self.q, self.k, self.v))
        distance = torch.arange(6)[:, None] - torch.arange(6)
        near = (distance >= 0) & (distance < 3)
        falling = torch.where(near, -0.25 * distance, -torch.inf)
        attend = functional.scaled_dot_product_attention
        y = attend(q, k, v) + attend(q, k, v, is_causal=True, scale=1.0)
        y = y + attend(q, k, v, attn_mask=near) + attend(q, k, v, attn_mask=falling)
        return self.out(y.transpose(-3, -2).flatten(-2))


def _turned(x: Tensor) -> Tensor:
    """Rotary embedding of [B, heads, T, features] by halves."""
    angles = torch.arange(x.shape[2])[:, None] * 0.3 ** torch.arange(x.shape[3] // 2)
    angles = torch.cat([angles, angles], -1)
    first, second = x.chunk(2, -1)
    return x * angles.cos() + torch.cat([-second, first], -1) * angles.sin()


class _Along(_Layers):
    """Each step a token, which attends to itself and the two before it; one head of keys for two."""

    window = 3

    def __init__(self) -> None:
        super().__init__()
        self.k, self.v = (nn.Linear(WIDTH, WIDTH // HEADS) for _ in range(2))

    def mask(self, steps: int) -> Tensor:
        distance = torch.arange(steps)[:, None] - torch.arange(steps)
        hidden = (distance < 0) | (distance >= self.window)
        return torch.where(hidden, -torch.inf, 0.0)

    def forward(self, x: Tensor) -> Any:
        s = self.lif(2 * x.transpose(0, 1)).transpose(0, 1)
        q = self.q(s).view(*s.shape[:2], HEADS, -1).transpose(1, 2)
        k, v = (f(s).view(*s.shape[:2], 1, -1).transpose(1, 2) for f in (self.k, self.v))
        shape = (len(x), 1, HEADS, x.shape[1], WIDTH // HEADS)
        k, v = (y[:, :, None].expand(shape).reshape(len(x), HEADS, x.shape[1], -1) for y in (k, v))
        mask = self.mask(x.shape[1])[None, None]
        y = functional.scaled_dot_product_attention(_turned(q), _turned(k), v, attn_mask=mask)
        return self.out(torch.nan_to_num(y).transpose(1, 2).reshape(*s.shape[:2], WIDTH))


class _Before(_Along):
    """All tokens before."""

    def forward(self, x: Tensor) -> Any:
        s = self.lif(2 * x.transpose(0, 1)).transpose(0, 1)
        q = self.q(s).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        y = functional.scaled_dot_product_attention(q, q, q, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))


class _Counted(_Layers):
    """W8ASpike: signed counts of a threshold of each token; and bytes of its largest magnitude."""

    def counts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        threshold = (x.abs().mean([-1], keepdim=True).float() / 3.0).clamp(min=1e-5, max=1e4)
        return (x / threshold).round(), threshold

    def forward(self, x: Tensor) -> Any:
        s = self.lif(2 * x.transpose(0, 1)).transpose(0, 1)
        n, threshold = self.counts(self.q(s) + 0.3 * x)
        y = self.o(n * threshold)
        scale = (y.abs().amax([-1], keepdim=True).float() / 127).clamp(min=1e-5)
        return self.out((y / scale).round().clamp(-128, 127) * scale)


MODELS = [(_Among, AMONG), (_Along, ALONG), (_Before, ALONG), (_Counted, ALONG)]


def _frames(shape: InputShape, samples: int = 5) -> Array:
    rng = np.random.default_rng(6)
    return rng.normal(0.3, 1, (STEPS, samples, *shape.sample)).astype(np.float32)


def _compiled(model: type[_Layers], shape: InputShape) -> Compilation:
    return compile_model(model(), shape, None, _frames(shape), Options("onnx", steps=STEPS), None)


@pytest.mark.parametrize(("model", "shape"), MODELS)
def test_they_are_captured_exactly(model: type[_Layers], shape: InputShape) -> None:
    found = capture(model().eval(), shape, REAL, steps=STEPS)
    assert prove_capture(found, torch.from_numpy(_frames(shape))).cells > 0


@pytest.mark.parametrize(("model", "shape"), MODELS)
def test_integers_come_near_and_engines_agree_exactly(model: type[_Layers], shape: InputShape) -> None:
    run = _compiled(model, shape)
    entries = {entry["stage"]: entry for entry in run.ledger.to_json()}
    assert entries["onnx/sequence.onnx"]["differing"] == 0
    assert run.quantized is not None
    assert run.inputs is not None
    assert run.capture is not None
    graph, frames, answers = run.quantized.graph, run.inputs.frames, []
    for name in ("reference", "event"):
        engine = open_engine(name, graph, {})
        engine.reset(frames.shape[1])
        answers.append(np.concatenate([engine.run(part).output for part in np.split(frames, [5])]))
    assert np.array_equal(answers[0], answers[1])
    unit = graph.units[graph.outputs[0]]
    got = answers[0] * unit.scale + unit.offset
    x = torch.from_numpy(_frames(shape))
    with torch.no_grad():
        wanted = run.capture.model(x if shape is AMONG else x.transpose(0, 1))
    wanted = (wanted if shape is AMONG else wanted.transpose(0, 1)).numpy()
    apart = np.abs(got - wanted) / np.abs(wanted).max()
    assert np.median(apart) < 0.015  # spikes that flip are few


def test_a_window_is_as_long_as_it_says_and_no_longer() -> None:
    found = capture(_Along().eval(), ALONG, REAL, steps=STEPS)
    (shares,) = (node for node in found.graph.nodes if isinstance(node.op, WindowSoftmax))
    assert found.graph.types[shares.output].shape == (HEADS, 1, _Along.window)


def test_counts_are_bounded_by_what_they_are_made_of() -> None:
    found = capture(_Counted().eval(), ALONG, REAL)
    codes = [node.op for node in found.graph.neurons() if isinstance(node.op, CountCode)]
    assert [code.levels for code in codes] == [3 * WIDTH, 127]  # |x| <= n mean|x|, |x| <= max|x|


def test_attention_before_is_that_of_pytorch() -> None:
    q, k, v = torch.randn(3, 2, 2, 7, 4, generator=torch.Generator().manual_seed(2))
    mask = torch.ones(7, 7).tril().triu(-2).bool()
    for keywords in ({"attn_mask": mask}, {"is_causal": True, "scale": 0.7}):
        wanted = functional.scaled_dot_product_attention(q, k, v, **keywords)
        torch.testing.assert_close(attend_before((q, k, v), keywords), wanted)


def test_masks_that_are_no_windows_are_told() -> None:
    assert window_of(torch.ones(4, 4).bool(), False, 4) is None
    assert window_of(torch.ones(4, 4).tril(), False, 4) is None  # numbers that are added
    assert window_of(None, False, 4) is None
    with pytest.raises(ValueError, match="window"):
        attend_before((torch.ones(1, 1, 4, 2),) * 3, {})


def test_attention_to_the_future_is_refused() -> None:
    class _Ahead(_Before):
        def forward(self, x: Tensor) -> Any:
            q = self.lif(2 * x.transpose(0, 1)).transpose(0, 1).unsqueeze(1)
            return self.out(functional.scaled_dot_product_attention(q, q, q).squeeze(1))

    with pytest.raises(UnsupportedError, match="window"):
        capture(_Ahead().eval(), ALONG, REAL, steps=STEPS)
    with pytest.raises(UnsupportedError, match="--steps"):
        capture(_Before().eval(), ALONG, REAL)
