"""Capture of what works along time: convolutions, delays, memories in frequencies, time anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn
from torch.nn import functional

from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.frontends.torch.capture import Capture, capture
from spikeloom.compiler.frontends.torch.eager import prove_capture, run_eager
from spikeloom.compiler.frontends.torch.neurons import reset_states
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import REAL
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.linear_state import LinearState
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.pipeline import Options, compile_model
from spikeloom.errors import UnsupportedError

STEPS = 11


def _lif(**settings: Any) -> nn.Module:
    node: nn.Module = neuron.LIFNode(
        tau=2.0, step_mode="m", surrogate_function=surrogate.ATan(), detach_reset=True, **settings
    )
    return node


class _Along(nn.Module):
    """Values [B, C, T] through convolutions along time, neurons over [T, C, B], and a residual."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first = nn.Conv1d(6, 8, 3, padding=1, bias=False)
        self.second = nn.Conv1d(8, 8, 3, padding=2, dilation=2, groups=4)
        norms = [nn.BatchNorm1d(8), nn.BatchNorm1d(8)]
        self.norms = nn.ModuleList(norms)
        for norm in norms:
            nn.init.uniform_(norm.weight, 1, 2)
            nn.init.uniform_(norm.bias, 0.2, 0.9)
        self.lifs = nn.ModuleList([_lif(), _lif()])
        self.head = nn.Linear(8, 3)

    def fire(self, index: int, x: Tensor) -> Tensor:
        currents = self.norms[index](x).permute(2, 1, 0).contiguous()
        spikes: Tensor = self.lifs[index](currents).permute(2, 1, 0)
        return spikes.contiguous()

    def forward(self, x: Tensor) -> Any:
        x = self.fire(0, 3 * self.first(x.unsqueeze(1).squeeze(1).permute(0, 2, 1)))
        return self.finish(self.fire(1, 2 * self.second(x)) + x)

    def finish(self, x: Tensor) -> Tensor:
        return self.head(x.permute(0, 2, 1)).mean(1)  # type: ignore[no-any-return]


class _AtEachStep(_Along):
    def finish(self, x: Tensor) -> Tensor:
        return self.head(x.permute(2, 0, 1)).transpose(0, 1)  # type: ignore[no-any-return]


class _Delays(nn.Module):
    """Delays of synapses: each layer goes on after the one before, and the last is read as a membrane."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        hidden = 4 * torch.rand(10, 6, 5, generator=generator)
        late = torch.randint(0, 5, (10, 6, 1), generator=generator)
        self.hidden = nn.Parameter(hidden * (torch.arange(5) == late))
        self.out = nn.Parameter(torch.randn(3, 10, 5, generator=generator))
        self.lif = _lif(decay_input=False)
        self.readout = _lif(v_threshold=1e9, decay_input=False, store_v_seq=True)

    def forward(self, x: Tensor) -> Any:
        x = functional.pad(x.permute(1, 2, 0), (4, 2), "constant", 0)
        spikes = self.lif(functional.conv1d(x, self.hidden).permute(2, 0, 1))
        y = functional.conv1d(functional.pad(spikes.permute(1, 2, 0), (4, 2)), self.out)
        self.readout(y.permute(2, 0, 1))
        return self.readout.v_seq


class _Memory(nn.Module):
    """A linear memory m <- A m + B u, computed over all steps by Fourier transforms."""

    frequencies: Tensor

    def __init__(self, stored: bool = True) -> None:
        super().__init__()
        torch.manual_seed(6)
        turn = torch.linalg.qr(torch.randn(12, 12)).Q * 0.9
        given = torch.randn(12, 1)
        response = torch.cat([torch.linalg.matrix_power(turn, t) @ given for t in range(STEPS)], 1)
        self.register_buffer("frequencies", torch.fft.rfft(response, n=2 * STEPS))
        if stored:
            self.register_buffer("a", turn)
            self.register_buffer("b", given)
        self.gate, self.out = nn.Linear(6, 1), nn.Linear(12, 3)
        self.write, self.read = _lif(), _lif()

    def forward(self, x: Tensor) -> Any:
        u = self.write(4 * self.gate(x).permute(1, 0, 2) + 2)
        spectrum = torch.fft.rfft(u.permute(1, 2, 0), n=2 * STEPS, dim=-1)
        m = torch.fft.irfft(spectrum * self.frequencies.unsqueeze(0), n=2 * STEPS, dim=-1)[:, :, :STEPS]
        return self.out(self.read(3 * m.permute(2, 0, 1))).transpose(0, 1)


class _Shift(nn.Module):
    """The value of the step before, by a padding that cuts off the end."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.shift, self.fc, self.lif = nn.ZeroPad2d((0, 0, 1, -1)), nn.Linear(6, 5), _lif()

    def forward(self, x: Tensor) -> Any:
        mixed = 0.7 * x + 0.3 * self.shift(x)
        return self.lif(4 * self.fc(mixed).permute(1, 0, 2)).permute(1, 0, 2)


CASES: dict[str, tuple[type[nn.Module], str, int, int]] = {
    "mean over time": (_Along, "B,T,6", 3, 3),
    "at each step": (_AtEachStep, "B,T,6", 3, 3),
    "delays": (_Delays, "T,B,6", 0, 4),
    "memory": (_Memory, "B,T,6", 0, 0),
    "shift": (_Shift, "B,T,6", 0, 0),
}
"""Model, input shape, steps by which it is late, and steps for which it runs on."""


def _captured(name: str) -> Capture:
    kind, shape, _, _ = CASES[name]
    return capture(kind().eval(), InputShape.parse(shape), REAL, steps=STEPS)


def _frames(samples: int = 2) -> Tensor:
    return torch.from_numpy(np.random.default_rng(8).random((STEPS, samples, 6), np.float32))


@pytest.mark.parametrize("name", CASES)
def test_they_are_captured_exactly(name: str) -> None:
    found, frames = _captured(name), _frames()
    assert (found.graph.latency, found.graph.flush) == CASES[name][2:]
    proof = prove_capture(found, frames)
    _, spikes = run_eager(found.model, found.input_shape, frames, found)
    assert proof.cells >= sum(s.numel() for s in spikes.values())
    rates = [float((s != 0).float().mean()) for path, s in spikes.items() if path != "readout"]
    assert all(0.05 < rate < 0.95 for rate in rates), rates


@pytest.mark.parametrize("name", CASES)
def test_the_model_called_as_it_is_computes_the_same(name: str) -> None:
    """Without slicing PyTorch rounds otherwise, and a memory in frequencies does: by little, on the whole."""
    found, frames = _captured(name), _frames()
    stepwise, _ = run_eager(found.model, found.input_shape, frames, found)
    reset_states(found.model)
    with torch.no_grad():
        whole = found.model(frames.transpose(0, 1) if CASES[name][1][0] == "B" else frames)
    reset_states(found.model)
    if CASES[name][1][0] == "B" and whole.ndim == 3:
        whole = whole.transpose(0, 1)
    assert torch.allclose(stepwise.reshape(whole.shape), whole, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_they_run_exactly_in_integers(name: str) -> None:
    kind, shape, _, flush = CASES[name]
    frames = _frames(6).numpy()
    run = compile_model(kind(), InputShape.parse(shape), None, frames, Options("onnx", steps=STEPS), None)
    assert run.quantized is not None
    assert run.inputs is not None
    assert len(run.inputs.frames) == STEPS + flush
    entries = {entry["stage"]: entry for entry in run.ledger.to_json()}
    assert entries["onnx/sequence.onnx"]["differing"] == 0
    decided = next(e for e in run.ledger.to_json() if "decision by decision" in e["against"])
    assert decided["differing"] <= 0.01 * decided["cells"]


def test_what_they_are_made_of() -> None:
    def ops(name: str, kind: type) -> list[Any]:
        return [node.op for node in _captured(name).graph.nodes if isinstance(node.op, kind)]

    first, second = ops("mean over time", TimeWindow)
    assert (first.size, first.ahead, second.dilation, second.ahead) == (3, 1, 2, 2)
    assert [window.beyond for window in ops("delays", TimeWindow)] == [2, 2]
    (memory,) = ops("memory", LinearState)
    assert memory.matrix.shape == (12, 12)
    (shift,) = ops("shift", Delay)
    assert (shift.longest, shift.balances) == (1, False)


def test_without_a_number_of_steps_what_looks_ahead_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        capture(_Along().eval(), InputShape.parse("B,T,6"), REAL)
    assert "--steps" in str(caught.value)


def test_a_kernel_that_no_stored_memory_has_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        capture(_Memory(stored=False).eval(), InputShape.parse("B,T,6"), REAL, steps=STEPS)
    assert "no module stores matrices A and B" in str(caught.value)


def test_a_readout_that_could_fire_is_refused() -> None:
    model = _Delays()
    model.readout.v_threshold = 2.0  # type: ignore[assignment]
    with pytest.raises(UnsupportedError) as caught:
        capture(model.eval(), InputShape.parse("T,B,6"), REAL, steps=STEPS)
    assert "reads the potentials of the neuron readout" in str(caught.value)


def test_the_graph_alone_computes_the_same_in_float64() -> None:
    found, frames = _captured("delays"), _frames(1)
    output, _ = run_eager(found.model, found.input_shape, frames, found)
    run = Interpreter(found.graph)
    run.reset(1)
    steps = [*frames.double().numpy(), *np.zeros((found.graph.flush, 1, 6))]
    got = np.stack([run.step(frame)[found.graph.outputs[0]] for frame in steps])
    np.testing.assert_allclose(got, output.numpy(), atol=1e-4)


class _Tubes(nn.Module):
    """A convolution of pictures [B, T, 2, 6, 6] as one of volumes, with time at another place."""

    def __init__(self, place: int) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.place = place
        kernel = ((1, 3, 3), (3, 1, 3), (3, 3, 1))[place]
        stride = ((1, 2, 1), (2, 1, 1), (2, 1, 1))[place]
        self.conv = nn.Conv3d(2, 4, kernel, stride)
        self.lif = neuron.LIFNode(tau=2.0, v_threshold=0.2, step_mode="m")
        self.head = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        volume = self.conv(x.transpose(0, 1).movedim(1, 2 + self.place))
        spikes = self.lif(volume.movedim(2 + self.place, 0))
        y: Tensor = self.head(spikes.flatten(2))
        return y


@pytest.mark.parametrize("place", range(3))
def test_volumes_with_time_at_any_place(place: int) -> None:
    found = capture(_Tubes(place).eval(), InputShape.parse("T,B,2,6,6"), REAL)
    frames = torch.rand(6, 2, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    assert prove_capture(found, frames).cells > 0
    assert sorted(found.volumes.values()) == [place]


class _Moves(nn.Module):
    """Axes moved in every way that PyTorch offers: [T, B, 3, 4] becomes [T, B, 4, 3]."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.lif = neuron.LIFNode(tau=2.0, v_threshold=0.3, step_mode="m")
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = x.movedim((0, 3), (2, 0)).swapaxes(1, 2).moveaxis(-1, 1).swapdims(0, -2)
        z: Tensor = self.head(self.lif(y.permute(0, 3, 2, 1)))
        return z


def test_axes_are_moved() -> None:
    found = capture(_Moves().eval(), InputShape.parse("T,B,3,4"), REAL)
    frames = torch.rand(6, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert prove_capture(found, frames).cells > 0
    assert found.graph.types[found.graph.outputs[0]].shape == (4, 2)
