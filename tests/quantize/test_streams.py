"""Values of different units: residuals of membranes, weights after weights, inputs in bytes with a zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage, Unit
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import REAL, SPIKES, Kind, Type, levels
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.linear_state import LinearState
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.step_affine import StepAffine
from spikeloom.compiler.graph.ops.time_mean import TimeMean
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.quantize.activity import measure_activity
from spikeloom.compiler.quantize.quantize import Quantized, quantize
from spikeloom.errors import UnsupportedError
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines import open_engine
from spikeloom.targets.onnx.target import OnnxTarget

STEPS, SAMPLES = 4, 6
ONNX = OnnxTarget()
PLAIN, SHIFTED = (Unit(np.array(s), np.array(o)) for s, o in ((1.0, 0.0), (0.02, -2.0)))
LIF = Neuron(0.5, 0.5, 0.5)
NAMED = ("a.add", "b.add", "two", "depth", "add", "product", "late", "window", "memory", "tuned", "fade")
Body = Callable[[GraphBuilder, str, np.random.Generator], str]


def _weights(rng: np.random.Generator, *shape: int) -> Array:
    weights: Array = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:])) * 2
    return weights


def _graph(body: Body, kind: Kind = SPIKES, seed: int = 0) -> Graph:
    """x [3, 6, 6], what ``body`` makes of it, neurons, and a readout."""
    builder, rng = GraphBuilder("g", Stage.CANONICAL), np.random.default_rng(seed)
    x = builder.input("x", Type((3, 6, 6), kind))
    (lif,) = builder.add("end", LIF, body(builder, x, rng))
    (flat,) = builder.add("flat", Reshape((builder.types[lif].size,)), lif)
    (head,) = builder.add("head", Linear(_weights(rng, 4, builder.types[lif].size), np.ones(4)), flat)
    builder.output(builder.add("mean", TimeMean(STEPS), head)[0])
    return builder.build()


def _residual(builder: GraphBuilder, x: str, rng: np.random.Generator) -> str:
    """Two branches of other weights are added to a stream of membranes, with a neuron before each."""
    (stream,) = builder.add("stem", Conv2d(_weights(rng, 5, 3, 3, 3), rng.normal(size=5), padding=(1, 1)), x)
    for block in ("a", "b"):
        (spikes,) = builder.add(f"{block}.lif", LIF, stream)
        conv = Conv2d(_weights(rng, 5, 5, 1, 1) * 3, rng.normal(size=5))
        (branch,) = builder.add(f"{block}.conv", conv, spikes)
        (stream,) = builder.add(f"{block}.add", Add(), stream, branch)
    return builder.add("pool", MaxPool2d((2, 2), (2, 2)), stream)[0]


def _chain(builder: GraphBuilder, x: str, rng: np.random.Generator) -> str:
    """Weights after weights, with the border of a padded batch norm between them."""
    (y,) = builder.add("one", Conv2d(_weights(rng, 5, 3, 1, 1), rng.normal(size=5)), x)
    (y,) = builder.add("pad", Pad((0, 1, 1), (0, 1, 1)), y)
    border = np.zeros((5, 8, 8))
    border[:, [0, -1], :] = border[:, :, [0, -1]] = 0.7
    border[:, :, 0] = border[:, :, -1] = 0.7
    (y,) = builder.add("border", Affine(np.ones(()), border), y)
    (y,) = builder.add("depth", Conv2d(_weights(rng, 5, 1, 3, 3), None, groups=5), y)
    return builder.add("two", Conv2d(_weights(rng, 6, 5, 1, 1), rng.normal(size=6)), y)[0]


def _negative(builder: GraphBuilder, x: str, rng: np.random.Generator) -> str:
    """A batch norm on a membrane, with gains of both signs and one of zero."""
    (y,) = builder.add("conv", Conv2d(_weights(rng, 5, 3, 3, 3), padding=(1, 1)), x)
    (z,) = builder.add("lif", LIF, y)
    gain = np.array([2.0, -1.5, 0.0, 1.0, -3.0]).reshape(-1, 1, 1)
    (y,) = builder.add("norm", Affine(gain, np.full((5, 1, 1), 0.3)), y)
    return builder.add("add", Add(), y, z)[0]


def _products(builder: GraphBuilder, x: str, rng: np.random.Generator) -> str:
    """A mask on currents, and a product of currents."""
    (y,) = builder.add("conv", Conv2d(_weights(rng, 3, 3, 1, 1), rng.normal(size=3)), x)
    (spikes,) = builder.add("lif", LIF, y)
    (masked,) = builder.add("masked", Mul(), y, spikes)
    (sums,) = builder.add("sums", ReduceSum((0,)), masked)
    (sums,) = builder.add("wide", Reshape((1, 6, 6)), sums)
    return builder.add("product", Mul(), sums, y)[0]


def _late(builder: GraphBuilder, x: str, rng: np.random.Generator) -> str:
    """Delays and a convolution along time, of currents whose zero is not 0."""
    (y,) = builder.add("conv", Conv2d(_weights(rng, 3, 3, 1, 1), rng.normal(size=3)), x)
    (y,) = builder.add("late", Delay(np.array([0, 1, 2]).reshape(3, 1, 1)), y)
    (y,) = builder.add("window", TimeWindow(2, 0), y)
    return builder.add("two", Conv2d(_weights(rng, 5, 6, 3, 3), rng.normal(size=5), padding=(1, 1)), y)[0]


def _remembered(builder: GraphBuilder, x: str, rng: np.random.Generator) -> str:
    """A linear memory, constants of each step, and a sum that fades."""
    (y,) = builder.add("rows", Linear(_weights(rng, 5, 6), rng.normal(size=5)), x)
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    (y,) = builder.add("memory", LinearState(turn * 0.9, rng.uniform(0.5, 2, 5)), y)
    scale, offset = rng.uniform(0.5, 2, (STEPS, 3, 1, 1)), rng.normal(size=(STEPS, 1, 1, 5)) / 4
    (y,) = builder.add("tuned", StepAffine(scale, offset), y)
    (y,) = builder.add("fade", LeakySum(0.6, rng.normal(size=5) / 4), y)
    return y


BODIES: list[Body] = [_residual, _chain, _negative, _products, _late, _remembered]


def _quantized(body: Body, kind: Kind = SPIKES) -> tuple[Graph, Quantized, Array, Array]:
    """The graph, its integer form, and the bytes and real values of its input."""
    rng = np.random.default_rng(1)
    graph = _graph(body, kind)
    frames = rng.integers(0, 2 if kind == SPIKES else 256, (STEPS, SAMPLES, 3, 6, 6)).astype(np.uint8)
    unit = (
        Unit(np.array(1.0), np.zeros(())) if kind == SPIKES else Unit(np.array(0.02), np.array(-0.02 * 100))
    )
    real = frames * unit.scale + unit.offset
    given = {"x": (SPIKES if kind == SPIKES else levels(255), unit)}
    activity = measure_activity(graph, real)
    assert all(0.02 < rate < 0.98 for rate in activity.rates.values()), activity.rates
    return graph, quantize(graph, ONNX.profile(8), activity, STEPS, given), frames, real


@pytest.mark.parametrize("kind", [SPIKES, REAL], ids=["spikes", "bytes"])
@pytest.mark.parametrize("body", BODIES)
def test_integers_follow_the_trained_values(body: Body, kind: Kind) -> None:
    """From the same membranes, each integer layer decides as the float one but for a few roundings."""
    graph, result, frames, real = _quantized(body, kind)
    floats, integers = Interpreter(graph), Interpreter(result.graph)
    floats.reset(SAMPLES)
    integers.reset(SAMPLES)
    differing = cells = 0
    layers = [node.name for node in graph.neurons()]
    for frame, shown in zip(frames, real, strict=True):
        for name in layers:
            floats.state[f"{name}/v"] = integers.state[f"{name}/v"] * result.bounds[name].unit
        fired = integers.step(frame)
        decided = floats.step(shown, forced={name: fired[name] for name in layers})
        for name in layers:
            differing += int((fired[name] != decided[name]).sum())
            cells += fired[name].size
        for name in NAMED:
            if name in result.graph.types and name in decided:
                unit = result.graph.units[name]
                got = fired[name] * unit.scale + unit.offset
                error = np.abs(got - decided[name]).max() / np.abs(decided[name]).max()
                assert error < 0.03, (name, error)
    assert differing <= 0.01 * cells


@pytest.mark.parametrize("kind", [SPIKES, REAL], ids=["spikes", "bytes"])
@pytest.mark.parametrize("body", BODIES)
def test_both_engines_agree(body: Body, kind: Kind) -> None:
    _, result, frames, _ = _quantized(body, kind)
    forms = ONNX.artifacts(result.graph)
    engines = {name: open_engine(name, result.graph, forms) for name in ("reference", "onnx")}
    comparison = compare_engines(engines, [("frames", frames)])
    assert comparison.mismatches == 0
    assert comparison.cells > 0


def test_the_answer_is_the_mean_over_time() -> None:
    _, result, frames, _ = _quantized(_residual)
    assert result.graph.answers_at_the_end
    run = Interpreter(result.graph)
    run.reset(SAMPLES)
    heads = []
    for frame in frames:
        values = run.step(frame)
        heads.append(values["head"] * result.graph.units["head"].scale)
    unit = result.graph.units["mean"]
    np.testing.assert_allclose(values["mean"] * unit.scale + unit.offset, np.mean(heads, 0))


def test_a_stream_has_one_unit_and_every_branch_is_rescaled_once() -> None:
    _, result, _, _ = _quantized(_residual)
    rescaled = [node for node in result.graph.nodes if node.op.name == "rescale"]
    assert len(rescaled) == 3  # the stem and two branches, not the sums
    scales = {float(result.graph.units[name].scale) for name in ("a.add", "b.add", "pool")}
    assert len(scales) == 1


@pytest.mark.parametrize("body", [_remembered, _late])
def test_a_target_that_cannot_rescale_says_so(body: Body) -> None:
    graph, _, _, real = _quantized(body)
    profile = replace(ONNX.profile(8), rescales=False, hosts=False)
    with pytest.raises(UnsupportedError, match="SL0501"):
        quantize(graph, profile, measure_activity(graph, real), STEPS)


def test_classes_that_fade_share_a_unit() -> None:
    """A leaky readout compares classes: one step of the weights, and biases that are added at each step."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder("g", Stage.CANONICAL)
    x = builder.input("x", Type((8,), SPIKES))
    (head,) = builder.add("head", Linear(rng.normal(size=(4, 8)), rng.normal(size=4)), x)
    builder.output(builder.add("fade", LeakySum(0.8), head)[0])
    graph, frames = builder.build(), rng.integers(0, 2, (STEPS, SAMPLES, 8)).astype(np.uint8)
    result = quantize(graph, ONNX.profile(8), measure_activity(graph, frames), STEPS)
    assert result.graph.answers_at_the_end
    assert result.graph.units["fade"].scale.size == 1
    floats, integers = Interpreter(graph), Interpreter(result.graph)
    floats.reset(SAMPLES)
    integers.reset(SAMPLES)
    for frame in frames:
        wanted, got = floats.step(frame)["fade"], integers.step(frame)["fade"]
    assert np.abs(got * result.graph.units["fade"].scale - wanted).max() < 0.02 * np.abs(wanted).max()


def test_a_wide_input_gives_digits_away_before_the_weights_do() -> None:
    """18 bits of a stream, times weights, in a 32-bit membrane: the weights stay at 8 bits."""
    _, result, _, _ = _quantized(_late)
    (grid,) = [grid for grid in result.grids if grid.layer == "two"]
    assert (grid.largest, grid.halvings) == (127, 0)
    assert grid.error < 0.02
    (conv,) = [node for node in result.graph.nodes if node.name == "two"]
    low, high = result.graph.types[conv.inputs[0]].kind.bounds
    assert 2**6 < max(-low, high) < 2**12


def test_bytes_are_padded_with_the_byte_that_stands_for_zero() -> None:
    _, result, _, _ = _quantized(_residual, REAL)
    (pad,) = [node for node in result.graph.nodes if node.op.name == "pad"]
    assert pad.op.value == 100  # type: ignore[attr-defined]
    assert result.graph.units["stem"].offset.size == 5


def test_a_window_larger_than_the_bytes_it_sees() -> None:
    """A picture of one pixel under a padded window: the zero of the bytes is outside of the picture too."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder("g", Stage.CANONICAL)
    x = builder.input("x", Type((2, 1, 1), REAL))
    (conv,) = builder.add(
        "conv", Conv2d(rng.normal(size=(4, 2, 3, 3)), rng.normal(size=4), padding=(1, 1)), x
    )
    (lif,) = builder.add("lif", LIF, conv)
    (flat,) = builder.add("flat", Reshape((4,)), lif)
    builder.output(builder.add("head", Linear(rng.normal(size=(3, 4))), flat)[0])
    graph = builder.build()
    frames = rng.integers(0, 256, (STEPS, SAMPLES, 2, 1, 1)).astype(np.uint8)
    real = frames * SHIFTED.scale + SHIFTED.offset
    given = {"x": (levels(255), SHIFTED)}
    result = quantize(graph, ONNX.profile(8), measure_activity(graph, real, silence=True), STEPS, given)
    run = Interpreter(result.graph)
    run.reset(SAMPLES)
    unit = result.graph.units["conv"]
    got = run.step(frames[0])["conv"] * unit.scale + unit.offset
    (wanted,) = graph.node("conv").op.evaluate(real[0])
    reach = np.abs(real[0]).sum((1, 2, 3)).reshape(-1, 1, 1, 1)
    assert (np.abs(got - wanted) <= unit.scale / SHIFTED.scale / 2 * reach + 1e-9).all()


def test_zeros_in_bytes_stay_nothing() -> None:
    """An input of 0.0 everywhere leaves the biases alone, however coarse the weights are."""
    graph, _, _, real = _quantized(_residual, REAL)
    zero = np.full((STEPS, SAMPLES, 3, 6, 6), 100, np.uint8)
    given = {"x": (levels(255), SHIFTED)}
    result = quantize(graph, ONNX.profile(3), measure_activity(graph, real), STEPS, given)
    run = Interpreter(result.graph)
    run.reset(SAMPLES)
    unit = result.graph.units["stem"]
    got = run.step(zero[0])["stem"] * unit.scale + unit.offset
    bias = graph.node("stem").op.bias.reshape(-1, 1, 1)  # type: ignore[attr-defined]
    np.testing.assert_allclose(got, np.broadcast_to(bias, got.shape), atol=1e-9)
