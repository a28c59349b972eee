"""Capture of what spiking transformers do beside layers: masks, means over time, inner time, borders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn
from torch.nn import functional

from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.frontends.torch.capture import capture
from spikeloom.compiler.frontends.torch.eager import prove_capture, run_eager
from spikeloom.compiler.frontends.torch.one_step import OneStepAtATime
from spikeloom.compiler.graph.kinds import REAL, SPIKES
from spikeloom.errors import InternalError, UnsupportedError


def _lif() -> nn.Module:
    node: nn.Module = neuron.LIFNode(
        tau=2.0, step_mode="m", surrogate_function=surrogate.ATan(), detach_reset=True
    )
    return node


class _Model(nn.Module):
    """Six numbers or a picture [2, 6, 6] at each step, two neuron layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.fc, self.out = nn.Linear(6, 6), nn.Linear(6, 5)
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.lif, self.other = _lif(), _lif()


class _MeanOverTime(_Model):
    def forward(self, x: Tensor) -> Any:
        return self.out(self.lif(3 * self.fc(x)).mean(0))


class _SumOverTime(_Model):
    def forward(self, x: Tensor) -> Any:
        return self.lif(3 * self.fc(x)).sum(0) * 0.25


class _MeanOverTimeAndPlace(_Model):
    def forward(self, x: Tensor) -> Any:
        spikes = self.lif(self.conv(x.flatten(0, 1)).unflatten(0, x.shape[:2]) * 4)
        return spikes.mean((0, 3, 4))


class _Mask(_Model):
    """Spike-driven self-attention: a mask from sums of products, broadcast over the tokens."""

    def forward(self, x: Tensor) -> Any:
        q = self.lif(8 * self.fc(x)).unflatten(-1, (2, 3))
        sums = (q * q).sum(-1, keepdim=True)
        return q.mul(self.other(sums)) - 0.5


class _Masked(_Model):
    def forward(self, x: Tensor) -> Any:
        spikes = self.lif(3 * self.fc(x))
        return (1 - spikes) * self.fc(x) + self.out(spikes).mean(-1, keepdim=True)


class _Windows(_Model):
    def forward(self, x: Tensor) -> Any:
        y = self.conv(x.flatten(0, 1)) * 4
        y = functional.avg_pool2d(y, 3, 2, 1) + functional.adaptive_avg_pool2d(y, 3)
        y = functional.interpolate(y, scale_factor=2, mode="nearest")
        spikes = self.lif(y.reshape(*x.shape[:2], *y.shape[1:]))
        pooled = functional.max_pool3d(spikes, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        pair = torch.stack([pooled[:, :, 3], pooled[:, :, 1:3:2].squeeze(2)], 2)
        return self.other(pair[:, :, :, :1].expand(-1, -1, -1, 3, -1) + pair)


class _Border(_Model):
    """The padded batch norm of re-parametrised convolutions: the border holds what the norm makes of 0."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.depth = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4, bias=False)
        self.norm.bias.data.normal_()
        self.norm.running_mean.normal_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Any:
        y = self.norm(self.conv(x.flatten(0, 1)))
        running_mean: Any = self.norm.running_mean
        running_var: Any = self.norm.running_var
        value = self.norm.bias - running_mean * self.norm.weight / torch.sqrt(running_var + self.norm.eps)
        value = value.detach().view(1, -1, 1, 1)
        y = functional.pad(y, [1] * 4)
        y[:, :, 0:1, :] = value
        y[:, :, -1:, :] = value
        y[:, :, :, 0:1] = value
        y[:, :, :, -1:] = value
        return self.lif(4 * self.depth(y).unflatten(0, x.shape[:2]))


class _RepeatsInside(_Model):
    """A picture is shown four times; the first convolution sees it once."""

    def forward(self, x: Tensor) -> Any:
        y = (self.conv(x) * 6).unsqueeze(0).repeat(4, 1, 1, 1, 1)
        return self.other(8 * self.out(self.lif(y))).flatten(2).mean(0)


class _AnswersAtEveryStep(_RepeatsInside):
    def forward(self, x: Tensor) -> Any:
        return self.lif((self.conv(x) * 4).unsqueeze(0).expand(4, -1, -1, -1, -1)).flatten(2)


class _OneStep(_Model):
    """No time at all: a single step of neurons."""

    def forward(self, x: Tensor) -> Any:
        return self.lif((self.conv(x) * 4).unsqueeze(0)).flatten(0, 1).flatten(1)


VECTORS, PICTURES, STILL = (InputShape.parse(text) for text in ("T,B,6", "T,B,2,6,6", "B,2,6,6"))
MODELS = [
    (_MeanOverTime, VECTORS),
    (_SumOverTime, VECTORS),
    (_MeanOverTimeAndPlace, PICTURES),
    (_Mask, VECTORS),
    (_Masked, VECTORS),
    (_Windows, PICTURES),
    (_Border, PICTURES),
    (_RepeatsInside, STILL),
    (_AnswersAtEveryStep, STILL),
    (_OneStep, STILL),
]


def _frames(shape: InputShape, steps: int, batch: int = 3) -> Tensor:
    random = torch.Generator().manual_seed(2)
    if shape is STILL:
        return torch.rand((batch, *shape.sample), generator=random).expand(steps, -1, -1, -1, -1)
    return (torch.rand((steps, batch, *shape.sample), generator=random) < 0.5).float()


@pytest.mark.parametrize(("model", "shape"), MODELS)
def test_they_are_captured_exactly(model: type[nn.Module], shape: InputShape) -> None:
    found = capture(model(), shape, REAL if shape is STILL else SPIKES, steps=5 if shape is not STILL else 0)
    frames = _frames(shape, found.steps or 5)
    proof = prove_capture(found, frames)
    output, spikes = run_eager(found.model, shape, frames, found)
    rates = {name: float(train.mean()) for name, train in spikes.items()}
    assert rates
    assert all(0.02 < rate < 0.98 for rate in rates.values()), rates
    assert proof.cells == sum(train.numel() for train in spikes.values()) + output.numel()
    assert output.std() > 0


def test_steps_of_inner_time_are_found() -> None:
    assert capture(_RepeatsInside(), STILL, REAL).steps == 4
    assert capture(_OneStep(), STILL, REAL).steps == 1


def test_which_networks_sum_over_time() -> None:
    ends = {
        model: capture(model(), shape, REAL, steps=5 if shape is not STILL else 0).graph.answers_at_the_end
        for model, shape in MODELS
    }
    wanted = {_MeanOverTime, _SumOverTime, _MeanOverTimeAndPlace, _RepeatsInside}
    assert {model for model, at_end in ends.items() if at_end} == wanted


def test_a_border_that_is_off_is_found() -> None:
    found = capture(_Border(), PICTURES, SPIKES)
    (node,) = [n for n in found.graph.nodes if n.op.name == "affine" and n.op.offset.ndim == 3]  # type: ignore[attr-defined]
    node.op.offset[0, 0, 0] += np.float32(0.5)  # type: ignore[attr-defined]
    with pytest.raises(InternalError, match="SL0306"):
        prove_capture(found, _frames(PICTURES, 5))


class _OverwritesValues(_Model):
    def forward(self, x: Tensor) -> Any:
        y = functional.pad(self.fc(x), [1, 1])
        y[:, :, 2:4] = 0.5
        return self.lif(y)


class _TimeAsBatch(_Model):
    """Neurons that run along the axis of samples."""

    def forward(self, x: Tensor) -> Any:
        return self.lif(self.conv(x))


@pytest.mark.parametrize(
    ("model", "shape", "named"),
    [
        (_OverwritesValues, VECTORS, "it overwrites part of a value in place"),
        (_TimeAsBatch, STILL, r"the neuron lif runs along axis 0 of \[B, ...\], which is not time"),
    ],
)
def test_what_cannot_be_kept_is_refused(model: type[nn.Module], shape: InputShape, named: str) -> None:
    with pytest.raises(UnsupportedError, match=named):
        capture(model(), shape, REAL)


class _RunsOnOverSamples(_Model):
    """A folded axis goes into a neuron that takes it for time, as in QKFormer: samples mix."""

    def forward(self, x: Tensor) -> Any:
        return self.lif(4 * self.fc(x.flatten(0, 1))).unflatten(0, x.shape[:2])


def test_a_neuron_that_runs_on_over_samples_is_named_and_meant_for_single_samples() -> None:
    found = capture(_RunsOnOverSamples(), VECTORS, SPIKES)
    assert found.over_samples == ("lif",)
    assert capture(_MeanOverTime(), VECTORS, SPIKES, steps=5).over_samples == ()
    prove_capture(found, _frames(VECTORS, 5, batch=1))
    with pytest.raises(ValueError, match="lif have a meaning for single samples only"):
        prove_capture(found, _frames(VECTORS, 5, batch=3))


def test_a_batch_that_could_be_the_time_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 8 cannot be told from 4 steps"):
        OneStepAtATime(4, 8)
