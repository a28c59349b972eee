"""A graph that is written as netx and read again is the same graph; what netx cannot hold is listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.frontends.netx.file import read_netx
from spikeloom.compiler.frontends.netx.lower import lower_netx
from spikeloom.compiler.frontends.netx.write import netx_bytes
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage, Unit
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import SPIKES, Type, levels
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.sigma_delta import SigmaDelta
from spikeloom.errors import UnsupportedError

STEPS = 6
NUMBERS = ("weight", "theta", "bias", "decay", "current_decay", "stride", "padding", "fraction_bits")


def neuron(axes: int, channels: int = 1, **changes: object) -> IntegerNeuron:
    one = (1,) * (axes - 1)
    bias = 64 * np.arange(channels).reshape(-1, *one)
    settings = {"theta": np.full((1, 1, *one), 640), "bias": bias, "decay": 1024, "fraction_bits": 7}
    return IntegerNeuron(**(settings | {"state_bits": 24} | changes))  # type: ignore[arg-type]


def network() -> Graph:
    """Every kind of layer that netx has, with delays and a decaying current."""
    rng, builder = np.random.default_rng(0), GraphBuilder("net", Stage.INTEGER, "loihi2")
    x = builder.input("input", Type((2, 8, 8), levels(255)))
    (x,) = builder.add("first", neuron(3, fraction_bits=6), x)
    weight = rng.integers(-20, 40, (4, 2, 3, 3)).astype(np.int8)
    (x,) = builder.add("conv.weights", Conv2d(weight, None, (2, 2), (1, 1)), x)
    (x,) = builder.add("conv", neuron(3, 4, current_decay=2048), x)
    (x,) = builder.add("flat", Reshape((64,)), x)
    (x,) = builder.add("fc.weights", Linear(rng.integers(-20, 40, (7, 64)).astype(np.int8)), x)
    (x,) = builder.add("fc.late", Delay(np.arange(7) % 3), x)
    (x,) = builder.add("fc", neuron(1, 7), x)
    (x,) = builder.add("loop.weights", Linear(rng.integers(-20, 40, (5, 7)).astype(np.int8)), x)
    back = rng.integers(-20, 30, (5, 5)).astype(np.int8)
    plain = neuron(1)
    loop = RecurrentNeuron(back, plain.theta, plain.bias, plain.decay, plain.fraction_bits, None, 24)
    (x,) = builder.add("loop", loop, x)
    (x,) = builder.add("head.weights", Linear(rng.integers(-20, 20, (3, 5)).astype(np.int8)), x)
    builder.output(builder.add("head", Accumulate(STEPS), x)[0])
    return builder.build()


def answers(graph: Graph, frames: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(graph)
    interpreter.reset(frames.shape[1])
    return np.stack([interpreter.step(frame)[graph.outputs[0]] for frame in frames])


def again(graph: Graph, folder: Path) -> Graph:
    (folder / "again.net").write_bytes(netx_bytes(graph, STEPS))
    return lower_netx(read_netx(folder / "again.net")).graph


def test_what_is_written_and_read_answers_the_same(tmp_path: Path) -> None:
    graph = network()
    frames = np.random.default_rng(1).integers(0, 64, (STEPS, 3, 2, 8, 8)).astype(np.uint8)
    wanted, got = answers(graph, frames), answers(again(graph, tmp_path), frames)
    assert wanted.any()
    assert (wanted == got).all()
    assert netx_bytes(graph, STEPS) == netx_bytes(graph, STEPS)


def test_pilotnet_is_the_same_after_a_round(data: Path, tmp_path: Path) -> None:
    first = lower_netx(read_netx(data / "conformance" / "pilotnet_lif" / "network.net"), 16).graph
    second = again(first, tmp_path)
    assert [node.op.name for node in first.nodes] == [node.op.name for node in second.nodes]
    for one, other in zip(first.nodes, second.nodes, strict=True):
        for name in NUMBERS:
            a, b = (np.asarray(getattr(node.op, name, 0)) for node in (one, other))
            assert np.array_equal(a, b), (one.name, name)


def changes() -> Graph:
    """A delta encoder of bytes, sigma-delta neurons, a sum that is read."""
    rng, builder = np.random.default_rng(0), GraphBuilder("net", Stage.INTEGER, "loihi2")
    x = builder.input("input", Type((12,), levels(255)))
    builder.units[x] = Unit(np.array(1 / 64), np.array(-2.0))
    delta = SigmaDelta(2 << 12, np.array(-128 << 12), 6, 12, integrates=False, rectifies=False)
    (x,) = builder.add("first", delta, x)
    (x,) = builder.add("fc.weights", Linear(rng.integers(-90, 91, (9, 12)).astype(np.int8)), x)
    (x,) = builder.add("fc", SigmaDelta(5 << 12, np.arange(9) << 12, 6), x)
    (x,) = builder.add("wide.weights", Linear(rng.integers(-127, 127, (7, 9)).astype(np.int8)), x)
    (x,) = builder.add("wide", SigmaDelta(0, np.zeros(1, np.int64), 6, 1), x)
    (x,) = builder.add("head.weights", Linear(rng.integers(-20, 20, (3, 7)).astype(np.int8)), x)
    builder.output(builder.add("head", Accumulate(STEPS), x)[0])
    return builder.build()


def test_sigma_delta_neurons_that_are_written_and_read_answer_the_same(tmp_path: Path) -> None:
    graph = changes()
    frames = np.random.default_rng(1).integers(90, 170, (STEPS, 3, 12)).astype(np.uint8)
    second = again(graph, tmp_path)
    assert (answers(graph, frames) == answers(second, frames)).all()
    assert answers(graph, frames).any()
    unit = second.units["input"]
    assert (float(unit.scale), float(unit.offset)) == (1 / 64, -2.0)


@pytest.mark.parametrize(
    ("op", "what"),
    [
        (SigmaDelta(1, np.array(0), 6), "no multiples of 4096"),
        (SigmaDelta(0, np.array(0), 5), "another unit or width"),
        (SigmaDelta(0, np.array(0), 6, rectifies=False), "codes something else"),
    ],
)
def test_sigma_delta_neurons_that_netx_has_not_are_named(op: SigmaDelta, what: str) -> None:
    builder = GraphBuilder("net", Stage.INTEGER)
    (x,) = builder.add("w", Linear(np.ones((2, 2), np.int8)), builder.input("x", Type((2,), SPIKES)))
    builder.output(builder.add("sd", op, x)[0])
    with pytest.raises(UnsupportedError, match=f"SL0602 sd .*{what}"):
        netx_bytes(builder.build(), STEPS)


def test_a_delay_that_netx_would_drop_is_named() -> None:
    builder = GraphBuilder("net", Stage.INTEGER)
    x = builder.input("x", Type((2, 4, 4), SPIKES))
    (x,) = builder.add("w", Conv2d(np.ones((2, 2, 1, 1), np.int8)), x)
    (x,) = builder.add("lif", neuron(3), x)
    builder.output(builder.add("late", Delay(np.array([1])), x)[0])
    with pytest.raises(UnsupportedError, match=r"SL0602 late .*in front of dense ones"):
        netx_bytes(builder.build(), STEPS)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"bias": np.array([1])}, "has biases that are no multiples of 64"),
        ({"theta": np.array([[64, 128]])}, "has several thresholds"),
        ({"theta": np.array([[64], [128]])}, "has graded spikes or a soft reset"),
        ({"fraction_bits": 5}, "has other than six or seven fraction digits"),
    ],
)
def test_what_netx_cannot_hold_is_named(changes: dict[str, object], what: str) -> None:
    builder = GraphBuilder("net", Stage.INTEGER)
    (x,) = builder.add("w", Linear(np.ones((2, 2), np.int8)), builder.input("x", Type((2,), SPIKES)))
    (x,) = builder.add("lif", neuron(1, **changes), x)  # type: ignore[arg-type]
    builder.output(x)
    with pytest.raises(UnsupportedError, match=f"SL0602 lif .*{what}"):
        netx_bytes(builder.build(), STEPS)
