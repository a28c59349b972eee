"""Reshapes that fold time or samples with other axes, undone later or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.frontends.torch.capture import capture
from spikeloom.compiler.frontends.torch.eager import prove_capture, run_eager
from spikeloom.compiler.graph.kinds import REAL
from spikeloom.errors import UnsupportedError
from tests.published.calibrated import compiled, row_of

FRAMES, TOKENS, WIDTH = 4, 16, 12
VIDEO, VECTORS = InputShape.parse("B,T,3,8,8"), InputShape.parse("B,T,6,4")
STEPS_FIRST = InputShape.parse("T,B,6,4")


def _lif() -> nn.Module:
    node: nn.Module = neuron.LIFNode(tau=2.0, v_threshold=0.5, step_mode="m")
    return node


class _FoldedVideo(nn.Module):
    """As SpikMamba: time and samples are folded with tokens in three ways before they part again.

    Its neurons run along [B*T, ...], and its answer is a mean over time and tokens in two steps.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.patches = nn.Conv3d(3, WIDTH, (1, 2, 2), (1, 2, 2))
        self.tokens, self.both = nn.BatchNorm1d(TOKENS), nn.BatchNorm1d(TOKENS)
        self.first, self.second = _lif(), _lif()
        self.of_steps = nn.Parameter(torch.randn(1, FRAMES, WIDTH))
        self.qk, self.head = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Any:
        batch = len(x)
        x = self.patches(x.transpose(1, 2)).permute(0, 2, 3, 4, 1).reshape(batch * FRAMES, TOKENS, WIDTH)
        x = self.first(self.tokens(x))
        x = x.reshape(batch, FRAMES, TOKENS, WIDTH).permute(0, 2, 1, 3).reshape(-1, FRAMES, WIDTH)
        x = x + self.of_steps
        x = x.reshape(batch, TOKENS, FRAMES, WIDTH).permute(0, 2, 1, 3).reshape(batch, -1, WIDTH)
        x = x.reshape(8, -1, WIDTH).contiguous()  # cuts through time and samples
        x = x.reshape(-1, TOKENS, WIDTH)
        q, k = self.second(self.both(self.qk(x))).reshape(-1, TOKENS, 2, WIDTH).permute(2, 0, 1, 3)
        x = x + q * k
        return self.head(x.view(len(x) // FRAMES, x.shape[1], -1, WIDTH).mean(2).mean(1))


def test_folds_that_are_undone_compile_and_run_exactly() -> None:
    model = _FoldedVideo()
    run = compiled(model, VIDEO, FRAMES)
    row = row_of(model, run)
    assert row.proved > FRAMES * 3 * TOKENS * WIDTH
    assert row.layers == len(row.rates) == 2
    assert min(row.rates.values()) > 0.05
    assert row.mismatches == 0
    assert row.compared >= row.decisions > 0
    assert row.over_samples == ("first", "second")
    assert run.capture is not None
    assert all(name.split(" ")[1].startswith("(test_folds.py:") for name in run.capture.contaminated)


def test_a_sample_of_a_batch_is_not_what_it_is_alone() -> None:
    """Why such a model has a meaning for single samples only."""
    model = _FoldedVideo().eval()
    frames = torch.randn(FRAMES, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = model(frames.transpose(0, 1))
        functional.reset_net(model)
        alone = model(frames[:, 1:].transpose(0, 1))
    assert not torch.equal(together[1:], alone)
    found = capture(model, VIDEO, REAL, steps=FRAMES)
    output, _ = run_eager(model, VIDEO, frames[:, 1:], found)
    torch.testing.assert_close(output[-1], alone)


class _Tokens(nn.Module):
    """Six tokens of four numbers at each step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.fc, self.lif = nn.Linear(4, 4), _lif()
        self.token = nn.Parameter(torch.rand(6, 1))


class _AlongTime(_Tokens):
    """[T, B*tokens, n] into the neurons: samples and tokens are folded, and do not meet."""

    def forward(self, x: Tensor) -> Any:
        y = 4 * self.fc(x)
        return self.lif(y.flatten(1, 2)).unflatten(1, y.shape[1:3]) * self.token


class _TokensFirst(_Tokens):
    """[T, tokens*B, n] into the neurons."""

    def forward(self, x: Tensor) -> Any:
        y = (4 * self.fc(x)).transpose(1, 2)
        folded = self.lif(torch.relu(y.flatten(1, 2) + 0.25))
        return folded.unflatten(1, y.shape[1:3]).transpose(1, 2)


@pytest.mark.parametrize("model", [_AlongTime, _TokensFirst])
def test_neurons_run_along_time_whatever_is_folded_behind_it(model: type[_Tokens]) -> None:
    found = capture(model(), STEPS_FIRST, REAL)
    assert found.over_samples == ()
    frames = torch.randn(5, 3, 6, 4, generator=torch.Generator().manual_seed(0))
    proof = prove_capture(found, frames)
    assert (proof.samples, proof.steps) == (3, 5)
    _, spikes = run_eager(found.model, STEPS_FIRST, frames, found)
    assert 0 < spikes["lif"].mean() < 1


class _AlongTokens(_Tokens):
    def forward(self, x: Tensor) -> Any:
        y = self.fc(x).transpose(1, 2).flatten(0, 1)  # [B*tokens, T, n]
        return self.lif(y).unflatten(0, (len(x), 6)).transpose(1, 2)


class _AcrossTime(_Tokens):
    def forward(self, x: Tensor) -> Any:
        y = self.fc(x.flatten(1, 2).reshape(len(x), 6, -1, 4))  # tokens of other time steps side by side
        return self.lif(y.transpose(0, 2).transpose(1, 2))


class _OneOperandFolded(_Tokens):
    def forward(self, x: Tensor) -> Any:
        y = self.fc(x)
        return (y.flatten(1, 2) + y.mean((1, 2)).unsqueeze(1)).mean(1)


class _FoldedTwoWays(_Tokens):
    def forward(self, x: Tensor) -> Any:
        y = self.fc(x)
        return (y.flatten(1, 2) + y.transpose(1, 2).flatten(1, 2)).mean(1)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (_AlongTokens, r"SL0302 lif .*the neuron lif runs along axis 0 of \[B\*6, T, 4\], which is not time"),
        (
            _AcrossTime,
            r"SL0303 test_folds.py:\d+: (?:reshape|view) mixes time or batch with other axes: "
            r"\[3, 5, 6, 4\] to \[3, 6, 5, 4\]; linear at test_folds.py:\d+ needs them apart",
        ),
        (_OneOperandFolded, "SL0302 .*only one of its operands folds time or samples with other axes"),
        (_FoldedTwoWays, "SL0302 .*its operands fold time or samples with other axes, in different ways"),
    ],
)
def test_what_is_not_undone_is_refused_where_it_was_folded(model: type[_Tokens], named: str) -> None:
    with pytest.raises(UnsupportedError, match=named):
        capture(model(), VECTORS, REAL, steps=5)


class _NumberOfTheStep(_Tokens):
    def forward(self, x: Tensor) -> Any:
        return self.lif(self.fc(x) + torch.arange(float(len(x))).reshape(-1, 1, 1, 1) / 8)


def test_summands_of_each_step_need_the_number_of_steps() -> None:
    with pytest.raises(UnsupportedError, match="differs over time, and the number of steps is not known"):
        capture(_NumberOfTheStep(), STEPS_FIRST, REAL)
    found = capture(_NumberOfTheStep(), STEPS_FIRST, REAL, steps=6)
    frames = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 2, 6, 4)).astype(np.float32))
    assert prove_capture(found, frames).steps == 6


class _OneByOne(_Tokens):
    """What works on single elements works on any fold, also on one of which only the order is known."""

    def forward(self, x: Tensor) -> Any:
        y = 4 * self.fc(x)
        cut = torch.relu(y.reshape(2, -1, 4).contiguous() if self.cuts else y.reshape(len(x), -1, 4))
        return self.lif(cut.reshape(y.shape).transpose(0, 1)).transpose(0, 1)

    cuts = False


class _Cut(_OneByOne):
    cuts = True


class _Turned(_Tokens):
    def forward(self, x: Tensor) -> Any:
        return self.fc(x.reshape(2, -1, 4).transpose(0, 1).reshape(x.shape))


class _Averaged(_Tokens):
    def forward(self, x: Tensor) -> Any:
        return x.reshape(2, -1, 4).mean(1)


def test_single_elements_need_axes_that_are_known() -> None:
    frames = torch.randn(5, 3, 6, 4, generator=torch.Generator().manual_seed(2))
    found = capture(_OneByOne(), VECTORS, REAL)
    assert prove_capture(found, frames).cells > 0
    for model, needing in ((_Cut(), "relu"), (_Turned(), "transpose.int"), (_Averaged(), "mean.dim")):
        named = rf"(?:reshape|view) mixes .*; {needing} at test_folds.py:\d+ needs them apart"
        with pytest.raises(UnsupportedError, match=named):
            capture(model, VECTORS, REAL)
