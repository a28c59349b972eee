"""Retiming: what looks ahead in time, run on what has arrived, is the same but late."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.passes import run_passes
from spikeloom.compiler.passes.retime import Retime

STEPS, CHANNELS = 9, 3
LIF = Neuron(decay=0.5, gain=0.5, threshold=1.0)
RNG = np.random.default_rng(2)
WEIGHTS = [RNG.normal(size=(CHANNELS, CHANNELS, 3)) * 2 for _ in range(3)]
BIAS = np.array([2.5, -0.5, 3.0])


def _network(sums: bool) -> Graph:
    """Two convolutions along time around neurons with a bias, a residual over both, a value of the past."""
    builder = GraphBuilder("looks ahead", Stage.CAPTURED)
    first = x = builder.input("x", Type((CHANNELS,), REAL))
    for index, weight in enumerate(WEIGHTS[:2]):
        x = _convolution(builder, f"conv{index}", weight, x)
        (x,) = builder.add(f"lif{index}", LIF, x)
    (x,) = builder.add("sum", Add(), first, x)
    (past,) = builder.add("past", Delay(np.array(1)), x)
    (x,) = builder.add("both", Add(), x, past)
    builder.output(builder.add("total", Accumulate(STEPS), x)[0] if sums else x)
    return builder.build()


def _convolution(builder: GraphBuilder, name: str, weight: Array, x: str) -> str:
    (x,) = builder.add(f"{name}.column", Reshape((CHANNELS, 1)), x)
    (x,) = builder.add(f"{name}.window", TimeWindow(3, 1, ahead=1), x)
    (x,) = builder.add(name, Conv1d(weight), x)
    (x,) = builder.add(f"{name}.flat", Reshape((CHANNELS,)), x)
    return builder.add(f"{name}.bias", Affine(np.ones(()), BIAS), x)[0]


def _by_torch(x: Array) -> Array:
    """The same over all steps [steps, batch, channels] at once."""
    y = torch.from_numpy(x)
    for weight in WEIGHTS[:2]:
        along = functional.conv1d(y.permute(1, 2, 0), torch.from_numpy(weight), padding=1)
        y = _lif(along.permute(2, 0, 1) + torch.from_numpy(BIAS))
    total = torch.from_numpy(x) + y
    past = torch.cat([torch.zeros_like(total[:1]), total[:-1]])
    result: Array = (total + past).numpy()
    return result


def _lif(currents: torch.Tensor) -> torch.Tensor:
    v, spikes = torch.zeros_like(currents[0]), []
    for x in currents:
        v = v + (x - v) / 2
        spikes.append((v >= 1).double())
        v = v * (v < 1)
    return torch.stack(spikes)


def _run(graph: Graph, frames: Array) -> Array:
    run = Interpreter(graph)
    run.reset(frames.shape[1])
    return np.stack([run.step(frame)[graph.outputs[0]] for frame in frames])


@pytest.mark.parametrize("sums", [False, True])
def test_a_network_that_looks_ahead_answers_late_and_alike(sums: bool) -> None:
    graph = run_passes(_network(sums), [Retime(STEPS)])
    assert graph.latency == 2
    x = np.random.default_rng(3).normal(size=(STEPS, 2, CHANNELS))
    flushed = np.concatenate([x, np.zeros((graph.latency, *x.shape[1:]))])
    got, wanted = _run(graph, flushed), _by_torch(x)
    assert 0.2 < (np.abs(wanted - x) > 0.5).mean() < 0.95  # it fires, and not always
    if sums:
        np.testing.assert_allclose(got[-1], wanted.sum(0), rtol=0, atol=1e-12)
    else:
        np.testing.assert_allclose(got[graph.latency :], wanted, rtol=0, atol=1e-12)
        assert not got[: graph.latency].any()


def test_without_gates_it_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimeGate, "step", lambda self, inputs, state: (inputs, state))
    graph = run_passes(_network(sums=False), [Retime(STEPS)])
    x = np.random.default_rng(3).normal(size=(STEPS + graph.latency, 2, CHANNELS))
    x[STEPS:] = 0
    assert np.abs(_run(graph, x)[graph.latency :] - _by_torch(x[:STEPS])).max() > 0.5


def test_what_does_not_look_ahead_is_left_alone() -> None:
    builder = GraphBuilder("plain", Stage.CAPTURED)
    x = builder.input("x", Type((CHANNELS,), REAL))
    builder.output(builder.add("past", Delay(np.array(2)), x)[0])
    graph = builder.build()
    assert Retime(STEPS).apply(graph).graph is graph
    assert graph.latency == 0
