"""Quantization: every number on the target's grid, decisions at ties exact, every refusal with its code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage, Unit
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import SPIKES, Kind, Type, sums
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.mean import Mean
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.graph.verify import verify
from spikeloom.compiler.quantize.activity import measure_activity, weighted_nodes
from spikeloom.compiler.quantize.driven import driven_neuron
from spikeloom.compiler.quantize.quantize import Quantized, quantize
from spikeloom.compiler.quantize.thresholds import quantize_neuron
from spikeloom.compiler.quantize.weights import free_steps, round_weights, shared_step
from spikeloom.errors import InputError, UnsupportedError
from tests.integer_networks import (
    NAMES,
    PROFILES,
    STEPS,
    canonical,
    frames_of,
    loihi2_profile,
    onnx_profile,
    quantized,
)

RNG = np.random.default_rng(0)
BITS = range(2, 9)


# --- the grid --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_number_is_on_the_grid(profile: str, bits: int) -> None:
    result, grid = quantized("spikformer", profile, bits), PROFILES[profile](bits)
    assert result.graph.profile == grid.name
    verify(result.graph)
    for node in result.graph.nodes:
        if isinstance(node.op, (Convolution, Linear)):
            assert node.op.weight.dtype == np.int8
            assert np.abs(node.op.weight.astype(int)).max() <= 2 ** (bits - 1) - 1
        if isinstance(node.op, IntegerNeuron):
            _check_neuron(node.op, grid)
            low, high = node.op.potential_bounds(result.graph.types[node.inputs[0]])
            assert max(-low, high) < 2 ** (grid.state_bits - 1)


def _check_neuron(op: IntegerNeuron, grid: NumericProfile) -> None:
    assert not (op.theta % grid.threshold_step).any()
    assert op.theta.min() >= 0
    assert op.theta.max() < 2**grid.threshold_bits * grid.threshold_step
    assert grid.threshold_groups is None or len(np.unique(op.theta)) <= grid.threshold_groups
    limit = 2 ** (grid.bias_mantissa_bits - 1) - 1
    exponents = range(2**grid.bias_exponent_bits)
    assert any(not (op.bias % 2**e).any() and (np.abs(op.bias) >> e).max() <= limit for e in exponents)
    assert (op.state_bits, op.fraction_bits) == (grid.state_bits, grid.fraction_bits)
    assert 0 <= op.decay <= 4096


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("profile", PROFILES)
def test_the_integer_network_nearly_does_what_was_trained(name: str, profile: str) -> None:
    """In its first layer; further on, random networks multiply each early difference."""
    graph, _ = canonical(name)
    trained, integer = (_spikes(g, frames_of(name, seed=9)) for g in (graph, quantized(name, profile).graph))
    assert trained.keys() == integer.keys()
    for layer, spikes in trained.items():
        assert integer[layer].mean() == pytest.approx(spikes.mean(), rel=0.2), layer
    first = next(iter(trained))
    assert (trained[first] != integer[first]).mean() < 0.01


def _spikes(graph: Graph, frames: NDArray[np.uint8]) -> dict[str, Array]:
    run = Interpreter(graph)
    run.reset(frames.shape[1])
    steps = [run.step(frame) for frame in frames]
    return {node.name: np.stack([values[node.output] for values in steps]) for node in graph.neurons()}


def test_more_bits_err_less() -> None:
    for layer in range(len(quantized("spikformer").grids)):
        errors = [quantized("spikformer", "onnx", bits).grids[layer].error for bits in BITS]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 0.02 < errors[0]


def test_quantizing_again_gives_the_same_numbers() -> None:
    graph, activity = canonical("spikformer")
    again = quantize(graph, loihi2_profile(), activity, STEPS)
    first = quantized("spikformer", "loihi2")
    for a, b in zip(first.graph.nodes, again.graph.nodes, strict=True):
        for field in ("weight", "bias", "theta"):
            np.testing.assert_array_equal(getattr(a.op, field, None), getattr(b.op, field, None))


def test_a_head_has_one_step_for_all_classes() -> None:
    for profile in PROFILES:
        result = quantized("spikformer", profile)
        assert len(np.unique(result.steps["head"])) == 1
        unit = result.graph.units["head"]
        assert unit.scale.size == 1
        assert not unit.offset.any()


def test_channels_of_a_population_share_a_step_up_to_powers_of_two() -> None:
    steps = quantized("spikformer", "loihi2").steps["blocks.0.attn.qkv_conv_bn.0"]
    powers = np.log2(steps.max() / steps)
    np.testing.assert_allclose(powers, powers.round(), atol=1e-9)
    assert len(np.unique(powers.round())) > 1  # of 96 channels, some use a finer step


def test_evidence_is_in_units_of_the_model() -> None:
    """The trained readout on the integer network's own spikes gives what the integers mean."""
    graph, _ = canonical("Convolutional")
    result = quantized("Convolutional").graph
    frames = frames_of("Convolutional")
    run = Interpreter(result)
    run.reset(frames.shape[1])
    unit = result.units[result.outputs[0]]
    for frame in frames:
        values = run.step(frame)
        pooled = values["lif3"].reshape(-1, 12, 4).mean(-1)
        (wanted,) = graph.node("head").op.evaluate(pooled)
        got = values[result.outputs[0]] * unit.scale + unit.offset
        np.testing.assert_allclose(got, wanted, atol=0.01)


def test_spikes_that_are_averaged_into_the_output_keep_their_unit() -> None:
    """A voting readout: the output is an affine map of spikes, and no layer with weights absorbs it."""
    graph = _network(lambda b, x: b.add("mean", Affine(np.array(0.25), np.zeros(())), _sum(b, x))[0])
    result = _quantized(graph)
    assert result.graph.outputs == ("sum",)
    assert float(result.graph.units["sum"].scale) == 0.25


def _sum(builder: GraphBuilder, value: str) -> str:
    return builder.add("sum", ReduceSum((1,)), value)[0]


# --- thresholds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_sums_at_the_threshold_fire_as_they_do_in_float(profile: str) -> None:
    """Spikformer's attention: 0.125 times a sum, tau 2, threshold 0.5: a sum of 8 is exactly there.

    Every sequence of four sums of 0..11, which meets the threshold exactly in many ways.
    """
    trained = Neuron(decay=0.5, gain=0.5, threshold=0.5)
    op, _ = quantize_neuron("lif", trained, _unit(0.125), PROFILES[profile](8), horizon=4)
    sequences = np.array(list(product(range(12), repeat=4))).T[:, None]  # [steps, 1, sequences]
    float_state = {"v": np.zeros(sequences.shape[1:])}
    integer_state = {"v": np.zeros(sequences.shape[1:], np.int64)}
    ties = 0
    for sums_ in sequences:
        ties += int((0.5 * float_state["v"] + 0.0625 * sums_ == 0.5).sum())
        (wanted,), float_state = trained.step((0.125 * sums_,), float_state)
        (got,), integer_state = op.step((sums_,), integer_state)
        np.testing.assert_array_equal(got, wanted)
    assert ties > 100


def _unit(scale: float) -> Unit:
    return Unit(np.array(scale), np.zeros(()))


@pytest.mark.parametrize("scale", [0.125, 0.3, 1 / 3, 0.01, 1 / 7, 1 / 49, 0.1])
@pytest.mark.parametrize("gain", [0.5, 1.0, 0.3, 0.1, 0.7])
def test_the_first_sum_that_fires_is_the_trained_one(scale: float, gain: float) -> None:
    """A sum that misses the threshold by a rounding of float64 alone counts as being there."""
    trained = Neuron(decay=0.5, gain=gain, threshold=1.0)
    op, bound = quantize_neuron("lif", trained, _unit(scale), onnx_profile(), horizon=4)
    x = np.arange(1000)[None]
    (got,), _ = op.step((x,), {"v": np.zeros((1, 1000), np.int64)})
    np.testing.assert_array_equal(got, gain * scale * x > 1 - 1e-12)
    assert -1e-6 <= float(bound.threshold) < 1


@pytest.mark.parametrize("profile", PROFILES)
def test_bounds_are_no_wider_than_the_grid(profile: str) -> None:
    """An oracle that allows anything would prove nothing."""
    grid = PROFILES[profile](8)
    for name in NAMES:
        result = quantized(name, profile)
        for layer, bound in result.bounds.items():
            op = result.graph.node(layer).op
            assert isinstance(op, IntegerNeuron)
            exponent = next(
                e for e in range(8) if (np.abs(op.bias) >> e).max() <= 2 ** (grid.bias_mantissa_bits - 1) - 1
            )
            bias_error = 0.5 * 2**exponent
            threshold_error = grid.threshold_step / 2 + 1
            assert bound.potential.max() <= bias_error + 2
            assert bound.decision.max() <= bias_error + threshold_error + 1
            assert np.abs(bound.threshold).max() <= threshold_error
            assert bound.leak <= 1 / 8192
            assert bound.decision.max() < 0.25 * op.theta.min()


def test_a_soft_reset_subtracts_the_threshold() -> None:
    trained = Neuron(decay=0.5, gain=1.0, threshold=1.0, reset="soft")
    op, bound = quantize_neuron("lif", trained, _unit(0.3), onnx_profile(), horizon=4)
    assert op.reset_by is not None
    assert int(op.reset_by) == round(64 / 0.3)
    assert float(bound.reset) == pytest.approx(abs(64 / 0.3 - round(64 / 0.3)))


def test_only_a_neuron_without_leak_needs_a_horizon() -> None:
    leaky, _ = quantize_neuron("lif", Neuron(0.5, 0.5, 1.0), _unit(1.0), onnx_profile(), horizon=7)
    steady, _ = quantize_neuron("if", Neuron(1.0, 1.0, 1.0), _unit(1.0), onnx_profile(), horizon=7)
    assert (leaky.horizon, steady.horizon) == (0, 7)


@pytest.mark.parametrize("decay", [0.9, 0.0, 0.123])
def test_decays_are_rounded_to_twelve_bits(decay: float) -> None:
    op, bound = quantize_neuron("lif", Neuron(decay, 1.0, 1.0), _unit(1.0), onnx_profile(), horizon=4)
    assert abs((4096 - op.decay) / 4096 - decay) == pytest.approx(bound.leak)
    assert bound.leak <= 1 / 8192


@pytest.mark.parametrize(
    ("neuron", "x", "profile", "what"),
    [
        (Neuron(0.5, 0.5, 1.0, drift=1e4), _unit(1.0), loihi2_profile(), "a bias does not fit"),
        (Neuron(0.5, 0.5, 1e6), _unit(1.0), loihi2_profile(), "a threshold does not fit"),
        (
            Neuron(0.5, 0.5, 1.0),
            Unit(np.linspace(0.01, 0.1, 9)[:, None], np.zeros(())),
            loihi2_profile(),
            "needs more thresholds than a population has (wanted 8, got 9)",
        ),
    ],
)
def test_a_neuron_off_the_grid_is_refused(
    neuron: Neuron, x: Unit, profile: NumericProfile, what: str
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        quantize_neuron("lif", neuron, x, profile, horizon=4)
    assert str(caught.value).startswith("SL0504 lif")
    assert what in str(caught.value)


def test_biases_are_mantissa_and_exponent() -> None:
    """13 bits hold 4095; 100,000 units need an exponent of 5, and are rounded to multiples of 32."""
    drift = 100_003 / 128 * np.ones(())
    trained = Neuron(0.5, 1.0, 1e3, drift=float(drift))
    op, bound = quantize_neuron("lif", trained, _unit(1.0), loihi2_profile(), horizon=4)
    assert int(op.bias) == 100_000
    assert float(bound.potential) == pytest.approx(3 + 1)


# --- weights ---------------------------------------------------------------------------------------------


def test_weights_of_free_channels_do_not_touch_each_other() -> None:
    weight, moment = RNG.normal(size=(4, 6)), RNG.uniform(0.1, 1, 6)
    steps = free_steps(weight, moment, onnx_profile(4), 1.0)
    weight[1] *= 100
    assert (free_steps(weight, moment, onnx_profile(4), 1.0)[[0, 2, 3]] == steps[[0, 2, 3]]).all()


def test_inputs_that_never_fire_have_no_say() -> None:
    """The weights of a silent input change nothing but their own integers."""
    weight, moment = RNG.normal(size=(4, 6)), np.array([0.0, 1, 1, 1, 0.2, 0.3])
    weight[:, 1] = 3.0  # the largest
    profile = onnx_profile(3)
    steps = free_steps(weight, moment, profile, 1.0)
    other = weight.copy()
    other[:, 0] = RNG.uniform(-2.9, 2.9, 4)
    assert (free_steps(other, moment, profile, 1.0) == steps).all()
    assert round_weights(weight, steps, moment, profile).error == pytest.approx(
        round_weights(other, steps, moment, profile).error
    )
    busy = np.ones(6)
    assert (free_steps(other, busy, profile, 1.0) != free_steps(weight, busy, profile, 1.0)).any()


def test_steps_follow_the_inputs_that_fire_most() -> None:
    """With 3 bits, clipping a large weight pays where its input hardly fires."""
    weight = np.concatenate([RNG.uniform(-0.6, 0.6, (1, 200)), [[1.0]]], 1)
    rare, often = np.ones(201), np.ones(201)
    rare[-1], often[-1] = 1e-6, 1e6
    profile = onnx_profile(3)
    assert free_steps(weight, rare, profile, 1.0)[0] < free_steps(weight, often, profile, 1.0)[0]


def test_rounding_is_to_the_nearest_and_clips() -> None:
    weight = np.array([[1.0, 0.26, -0.24, -2.0]])
    grid = round_weights(weight, np.array([0.5]), np.ones(4), onnx_profile(2))
    assert grid.integers.tolist() == [[1, 1, 0, -1]]
    grid = round_weights(weight, np.array([0.5]), np.ones(4), onnx_profile(4))
    assert grid.integers.tolist() == [[2, 1, 0, -4]]


def test_the_declared_error_is_the_error_of_the_sums() -> None:
    """Independent inputs of the calibration's mean squares; sums with and without rounding."""
    weight, rate = RNG.normal(size=(3, 40)), RNG.uniform(0.05, 0.6, 40)
    signed = RNG.choice([-1, 1], (200_000, 40)) * (RNG.random((200_000, 40)) < rate)
    profile = onnx_profile(4)
    steps = free_steps(weight, rate, profile, 1.0)
    grid = round_weights(weight, steps, rate, profile)
    exact, rounded = signed @ weight.T, signed @ (grid.integers * steps[:, None]).T
    measured = np.sqrt(np.square(exact - rounded).sum() / np.square(exact).sum())
    assert grid.error == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize("bits", BITS)
def test_a_channel_without_weights_is_quantized_too(bits: int) -> None:
    weight = RNG.normal(size=(3, 4))
    weight[1] = 0
    for steps in (
        free_steps(weight, np.ones(4), onnx_profile(bits), 1.0),
        shared_step(weight, np.ones(4), onnx_profile(bits), 1.0),
    ):
        assert (steps > 0).all()
        assert not round_weights(weight, steps, np.ones(4), onnx_profile(bits)).integers[1].any()


# --- small graphs ----------------------------------------------------------------------------------------

Body = Callable[[GraphBuilder, str], str]
LIF = Neuron(0.5, 0.5, 0.3)


def _network(body: Body, weight: Array | None = None, neuron: Op = LIF, kind: Kind = SPIKES) -> Graph:
    """x [3, 4], a convolution, neurons [5, 4], and what ``body`` makes of their spikes."""
    builder = GraphBuilder("g", Stage.CANONICAL)
    x = builder.input("x", Type((3, 4), kind))
    weight = np.random.default_rng(1).uniform(0, 1, (5, 3, 1)) if weight is None else weight
    (conv,) = builder.add("conv", Conv1d(weight), x)
    (lif,) = builder.add("lif", neuron, conv)
    builder.output(body(builder, lif))
    return builder.build()


def _head(builder: GraphBuilder, value: str) -> str:
    flat = builder.add("flat", Reshape((20,)), value)[0]
    return builder.add("head", Linear(np.random.default_rng(2).normal(size=(2, 20))), flat)[0]


def _frames(samples: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 2, (4, samples, 3, 4)).astype(np.uint8)


def _quantized(graph: Graph, profile: NumericProfile | None = None, horizon: int = 4) -> Quantized:
    return quantize(graph, profile or onnx_profile(), measure_activity(graph, _frames()), horizon)


def _problems(graph: Graph, profile: NumericProfile | None = None, horizon: int = 4) -> list[str]:
    with pytest.raises(UnsupportedError) as caught:
        _quantized(graph, profile, horizon)
    return [str(problem) for problem in caught.value.problems]


def test_a_narrow_state_makes_the_weights_coarser() -> None:
    graph = _network(_head)
    wide = _quantized(graph)
    narrow = _quantized(graph, replace(onnx_profile(), state_bits=12))
    assert [grid.halvings for grid in wide.grids] == [0, 0]
    assert narrow.grids[0].halvings > 0
    assert narrow.grids[1].halvings == 0  # the head drives no neuron
    ratio = narrow.steps["conv"] / wide.steps["conv"]
    assert (ratio > 2 ** (narrow.grids[0].halvings - 1)).all()
    assert (ratio < 2 ** (narrow.grids[0].halvings + 1)).all()
    op = narrow.graph.node("lif").op
    assert isinstance(op, IntegerNeuron)
    low, high = op.potential_bounds(narrow.graph.types["conv"])
    assert 2**9 < max(-low, high) < 2**11  # one doubling less would not have fitted


def test_a_state_that_no_weights_fit_is_refused() -> None:
    (problem,) = _problems(_network(_head), replace(onnx_profile(), state_bits=7))
    assert problem.startswith("SL0503 lif at the compiler: the potential may reach")
    assert "wider state" in problem


def test_a_neuron_that_is_never_reset_is_refused() -> None:
    """Signed drive, no leak, no reset: nothing bounds it from below."""
    weight = np.random.default_rng(1).normal(size=(5, 3, 1))
    graph = _network(_head, weight, Neuron(1.0, 1.0, 0.3))
    assert _quantized(graph, horizon=4).graph.node("lif").op.horizon == 4  # type: ignore[attr-defined]
    (problem,) = _problems(graph, horizon=0)
    assert problem.startswith("SL0503 lif")


def test_a_sum_that_overflows_and_follows_no_weights_is_refused() -> None:
    def attention(builder: GraphBuilder, value: str) -> str:
        (row,) = builder.add("row", Reshape((1, 20)), value)
        (column,) = builder.add("column", Reshape((20, 1)), value)
        (total,) = builder.add("total", MatMul(), row, column)
        (attn,) = builder.add("attn", Neuron(0.5, 0.5, 1.0), total)
        return builder.add("head", Linear(np.ones((2, 1))), attn)[0]

    (problem,) = _problems(_network(attention), replace(onnx_profile(), state_bits=10))
    assert problem.startswith("SL0503 attn")


def test_layers_whose_sums_are_added_share_the_coarsest_step() -> None:
    """Of a target that cannot rescale; one layer has weights a hundred times those of the other."""

    def residual(builder: GraphBuilder, value: str) -> str:
        large = [RNG.normal(size=(5, 5, 1)) * scale for scale in (1, 100)]
        branches = [builder.add(n, Conv1d(w), value)[0] for n, w in zip("ab", large, strict=True)]
        (total,) = builder.add("total", Add(), *branches)
        (lif,) = builder.add("lif2", Neuron(0.5, 0.5, 0.1), total)
        return _head(builder, lif)

    result = _quantized(_network(residual))
    assert len(set(np.concatenate([result.steps[name] for name in ("a", "b")]).tolist())) == 1
    assert [grid.largest > 100 for grid in result.grids if grid.layer in ("a", "b")] == [False, True]


def test_spikes_and_membranes_are_not_added() -> None:
    def residual(builder: GraphBuilder, value: str) -> str:
        (branch,) = builder.add("a", Conv1d(RNG.normal(size=(5, 5, 1))), value)
        (lif,) = builder.add("lif2", Neuron(0.5, 0.5, 0.1), builder.add("total", Add(), value, branch)[0])
        return _head(builder, lif)

    (problem,) = _problems(_network(residual))
    assert problem.startswith("SL0502 total at the compiler: needs values in another unit")


def test_spikes_of_different_scales_are_not_added() -> None:
    def residual(builder: GraphBuilder, value: str) -> str:
        (half,) = builder.add("half", Affine(np.array(0.5), np.zeros(())), value)
        return _head(builder, builder.add("total", Add(), value, half)[0])

    (problem,) = _problems(_network(residual))
    assert problem.startswith("SL0502 total at the compiler: needs values in another unit")


def test_spikes_of_one_scale_are_added_and_multiplied_exactly() -> None:
    def residual(builder: GraphBuilder, value: str) -> str:
        halves = [builder.add(n, Affine(np.array(0.5), np.zeros(())), value)[0] for n in ("a", "b")]
        return _head(builder, builder.add("total", Add(), *halves)[0])

    result = _quantized(_network(residual))
    assert result.graph.types["total"].kind == sums(0, 2)
    assert float(result.graph.units["total"].scale) == 0.5


def test_everything_without_an_integer_form_is_listed() -> None:
    def odd(builder: GraphBuilder, value: str) -> str:
        (negative,) = builder.add("negative", Affine(np.array(-1.0), np.zeros(())), value)
        (mean,) = builder.add("mean", Mean((0,)), value)
        (loose,) = builder.add("loose", Conv1d(RNG.normal(size=(4, 5, 1))), value)
        (deep,) = builder.add("deep", Conv1d(RNG.normal(size=(4, 4, 1))), loose)
        (first,) = builder.add("first", Reshape((20,)), negative)
        (second,) = builder.add(
            "second", Concat(0), first, mean, builder.add("third", Reshape((16,)), deep)[0]
        )
        return builder.add("head", Linear(RNG.normal(size=(2, 40))), second)[0]

    problems = _problems(_network(odd))
    assert [problem.split(" at ")[0] for problem in problems] == [
        "SL0501 negative",
        "SL0501 mean",
        "SL0501 loose",
    ]
    assert "mean has no integer form" in problems[1]
    assert "a factor that is not positive" in problems[0]
    assert "drive neither one neuron layer nor an output alone" in problems[2]


def test_a_pool_within_one_scale_passes_and_others_do_not() -> None:
    def pooled(scale: Array) -> Body:
        def body(builder: GraphBuilder, value: str) -> str:
            (scaled,) = builder.add("scaled", Affine(scale, np.zeros(())), value)
            (image,) = builder.add("image", Reshape((5, 2, 2)), scaled)
            (pool,) = builder.add("pool", MaxPool2d((2, 2), (2, 2)), image)
            flat = builder.add("flat", Reshape((5,)), pool)[0]
            return builder.add("head", Linear(RNG.normal(size=(2, 5))), flat)[0]

        return body

    _quantized(_network(pooled(np.array(2.0))))
    (problem,) = _problems(_network(pooled(np.linspace(1, 2, 4))))
    assert problem.startswith("SL0502 pool")


def test_the_scale_of_an_input_goes_into_the_weights() -> None:
    """A mean before a layer: what it divides by is in the step of the sums, not of the weights."""
    weight = np.random.default_rng(2).normal(size=(2, 20))

    def averaged(builder: GraphBuilder, value: str) -> str:
        flat = builder.add("flat", Reshape((20,)), value)[0]
        (scaled,) = builder.add("scaled", Affine(np.array(0.25), np.zeros(())), flat)
        return builder.add("head", Linear(weight), scaled)[0]

    result = _quantized(_network(averaged))
    integers = result.graph.node("head").op.weight  # type: ignore[attr-defined]
    np.testing.assert_allclose(integers * result.steps["head"][:, None], weight, atol=0.02)
    assert result.graph.units["head"].scale.item() == pytest.approx(0.25 * result.steps["head"][0])


def test_a_convolution_drives_a_neuron_through_pooling_and_reshapes_alone() -> None:
    graph = _network(_head)
    neuron = driven_neuron(graph, graph.node("conv"))
    assert neuron is graph.node("lif")
    assert driven_neuron(graph, graph.node("head")) is None
    assert [node.name for node in weighted_nodes(graph)] == ["conv", "head"]


# --- calibration -----------------------------------------------------------------------------------------


def test_a_layer_that_never_fires_is_named() -> None:
    graph = _network(_head, neuron=Neuron(0.5, 0.5, 1e6))
    with pytest.raises(InputError, match="SL0505 lif: never fires on the calibration recordings"):
        measure_activity(graph, _frames())


def test_calibration_needs_recordings() -> None:
    with pytest.raises(InputError, match="SL0505 --calibrate: holds no recordings"):
        measure_activity(_network(_head), _frames(samples=0))


def test_statistics_are_those_of_all_samples_and_steps() -> None:
    graph = _network(_head)
    frames = _frames(samples=37)  # three batches, the last smaller
    activity = measure_activity(graph, frames)
    assert (activity.samples, activity.steps) == (37, 4)
    np.testing.assert_allclose(activity.moments["conv"], frames.astype(float).mean((0, 1, 3)))
    spikes = _spikes(graph, frames)["lif"]
    assert activity.rates["lif"] == pytest.approx(spikes.mean())
    np.testing.assert_allclose(activity.moments["head"], np.square(spikes).mean((0, 1)).reshape(20))


def test_moments_are_of_the_layers_input_not_of_its_scale() -> None:
    graph = _network(_head, kind=sums(0, 3))
    frames = _frames() * 3
    np.testing.assert_allclose(
        measure_activity(graph, frames).moments["conv"], np.square(frames.astype(float)).mean((0, 1, 3))
    )


def test_decays_lie_on_the_grid_of_the_profile() -> None:
    neuron = Neuron(decay=0.7, gain=1.0, threshold=1.0)
    unit = Unit(np.array(0.01), np.zeros(()))
    fine, _ = quantize_neuron("lif", neuron, unit, NumericProfile("fine"), 0)
    coarse, bound = quantize_neuron("lif", neuron, unit, NumericProfile("coarse", decay_bits=4), 0)
    assert (fine.decay, coarse.decay) == (round(0.3 * 4096), 5 * 256)
    assert bound.leak == pytest.approx(abs(0.7 - (1 - 5 / 16)))


def test_a_narrow_state_makes_grouped_steps_coarser_in_every_channel() -> None:
    """Channels of very different weights: finer groups of thresholds must not undo what is coarser."""
    builder = GraphBuilder("mixed", Stage.CANONICAL)
    x = builder.input("frames", Type((3, 4), SPIKES))
    flat = builder.add("flat", Reshape((12,)), x)[0]
    spread = 2.0 ** -np.arange(6)[:, None] * np.random.default_rng(5).normal(size=(6, 12))
    sums = builder.add("hidden", Linear(spread), flat)[0]
    builder.output(builder.add("lif", Neuron(decay=0.5, gain=0.5, threshold=0.25), sums)[0])
    graph = builder.build()
    grouped = replace(onnx_profile(), threshold_groups=8, threshold_step=64)
    before, after = _quantized(graph, grouped), _quantized(graph, replace(grouped, state_bits=15))
    halvings = after.grids[0].halvings
    assert before.grids[0].halvings == 0 < halvings
    assert (after.steps["hidden"] > before.steps["hidden"] * 2 ** (halvings - 1)).all()


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_bias_beyond_its_mantissa_makes_the_weights_coarser(comes_back: bool) -> None:
    """4095 * 2**7 state units of gain * step / 2**7 are 33 where a step is 1/127: 40 needs coarser steps."""
    neuron = Neuron(decay=0.5, gain=0.5, threshold=30.0)
    builder = GraphBuilder("biased", Stage.CANONICAL)
    x = builder.input("frames", Type((3, 4), SPIKES))
    flat = builder.add("flat", Reshape((12,)), x)[0]
    weight = np.random.default_rng(5).uniform(-1, 1, (6, 12))
    sums = builder.add("hidden", Linear(weight, np.full(6, 40.0)), flat)[0]
    layer = FeedbackNeuron.of(neuron, np.eye(6)) if comes_back else neuron
    builder.output(builder.add("lif", layer, sums)[0])
    result = _quantized(builder.build(), loihi2_profile())
    assert result.grids[0].halvings == 1
    op = result.graph.node("lif").op
    assert isinstance(op, IntegerNeuron | RecurrentNeuron)
    assert 4095 * 2**6 < np.abs(op.bias).max() <= 4095 * 2**7


@pytest.mark.parametrize(("neurons", "ratio"), [(40, 12.0), (200, 8.0)])
def test_weights_back_in_a_narrow_state_get_a_coarser_unit_of_their_own(neurons: int, ratio: float) -> None:
    """Weights back far larger than those ahead: their unit must be coarser, and none is cut off."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder("back", Stage.CANONICAL)
    x = builder.input("frames", Type((3, 4), SPIKES))
    flat = builder.add("flat", Reshape((12,)), x)[0]
    sums = builder.add("hidden", Linear(rng.uniform(-1, 1, (neurons, 12)), None), flat)[0]
    weight = rng.uniform(-1, 1, (neurons, neurons)) * ratio
    layer = FeedbackNeuron.of(Neuron(decay=0.99, gain=1.0, threshold=3.0), weight)
    builder.output(builder.add("lif", layer, sums)[0])
    result = _quantized(builder.build(), replace(loihi2_profile(), rescales=True))
    assert [grid.halvings for grid in result.grids] == [0]
    node = result.graph.node("lif")
    assert isinstance(node.op, RecurrentNeuron)
    integers = node.op.weight.astype(float)
    unit = np.abs(weight).max() / np.abs(integers).max()
    assert 0 < np.abs(integers).max() < 127
    assert np.abs(integers * unit - weight).max() < 1.1 * unit
    assert sum(type(one.op).__name__ == "Rescale" for one in result.graph.nodes) == 1
