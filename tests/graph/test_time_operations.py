"""Operations along time, over whole sequences: against PyTorch, and integers within their proofs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from spikeloom.compiler.graph.graph import GraphBuilder, Stage
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import REAL, SPIKES, Type, current, holding, levels, sums
from spikeloom.compiler.graph.op import Array, StatefulOp, all_ops
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.integer_key_value import IntegerKeyValue
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.linear_state import LinearState
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.ops.step_affine import StepAffine
from spikeloom.compiler.graph.ops.step_rescale import StepRescale
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.ops.weighted_key_value import WeightedKeyValue
from tests.operation_cases import Case, cases, random_values

STEPS, SAMPLES = 7, 2
SEEDS = st.integers(0, 2**32 - 1)
TIMED = [
    "delay",
    "leaky_sum",
    "linear_state",
    "recurrent_neuron",
    "sigma_delta",
    "step_rescale",
    "time_gate",
    "time_window",
]


def _over_time(op: StatefulOp, kind: Type, xs: Array) -> tuple[Array, list[dict[str, Array]]]:
    """Results [steps, batch, ...] from the start, and the states in between."""
    batch = xs.shape[1]
    state = {name: np.broadcast_to(v, (batch, *v.shape)) for name, v in op.initial(kind).items()}
    results, states = [], [state]
    for x in xs:
        (y,), state = op.step((x,), state)
        results.append(y)
        states.append(state)
    return np.stack(results), states


@pytest.mark.parametrize("name", TIMED)
def test_integers_stay_within_the_proven_interval_and_shape(name: str) -> None:
    @settings(max_examples=60)
    @given(cases(name, integer=True), SEEDS)
    def check(case: Case, seed: int) -> None:
        assert isinstance(case.op, StatefulOp)
        rng, (kind,) = np.random.default_rng(seed), case.types
        xs = np.stack([random_values(rng, kind, SAMPLES) for _ in range(STEPS)])
        ys, states = _over_time(case.op, kind, xs)
        (wanted,) = case.op.infer(kind)
        assert ys.shape == (STEPS, SAMPLES, *wanted.shape)
        assert ys.dtype == np.int64
        low, high = wanted.kind.bounds
        assert low <= ys.min()
        assert ys.max() <= high
        for name, declared in case.op.states(kind).items():
            for state in states:
                assert state[name].shape == (SAMPLES, *declared.shape)
                assert declared.kind.bounds[0] <= state[name].min()
                assert state[name].max() <= declared.kind.bounds[1]

    check()


@pytest.mark.parametrize("name", [*TIMED[:3], "step_affine", "time_gate", "time_window"])
def test_real_inputs_give_real_results(name: str) -> None:
    @settings(max_examples=20)
    @given(cases(name, integer=False), SEEDS)
    def check(case: Case, seed: int) -> None:
        assert isinstance(case.op, StatefulOp)
        xs = np.random.default_rng(seed).normal(size=(STEPS, SAMPLES, *case.types[0].shape))
        ys, _ = _over_time(case.op, case.types[0], xs)
        (wanted,) = case.op.infer(*case.types)
        assert wanted.kind == REAL
        assert ys.dtype == np.dtype(np.float64)
        assert ys.shape[2:] == wanted.shape

    check()


def test_what_remembers_takes_the_same_memory_however_long_it_runs() -> None:
    """The states of every operation are declared by its type alone; this holds them to it."""
    remembering = {name for name, op in all_ops().items() if issubclass(op, StatefulOp)}
    assert remembering >= {*TIMED, "step_affine", "accumulate", "time_mean", "neuron"}
    op, kind = TimeWindow(4, 0, 3), Type((5,), SPIKES)
    _, states = _over_time(op, kind, np.ones((100, 1, 5), np.int64))
    assert {state["past"].size for state in states} == {9 * 5}


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", [2, 5])
def test_a_window_and_a_linear_map_are_a_causal_convolution_of_pytorch(size: int, dilation: int) -> None:
    rng = np.random.default_rng(size)
    x, w, b = rng.normal(size=(12, SAMPLES, 3)), rng.normal(size=(4, 3, size)), rng.normal(size=4)
    window, _ = _over_time(TimeWindow(size, 0, dilation), Type((3,), REAL), x)
    linear = Linear(w.transpose(0, 2, 1).reshape(4, size * 3), b)
    got = np.stack([linear.evaluate(step)[0] for step in window])
    padded = functional.pad(torch.from_numpy(x).permute(1, 2, 0), ((size - 1) * dilation, 0))
    wanted = functional.conv1d(padded, torch.from_numpy(w), torch.from_numpy(b), dilation=dilation)
    np.testing.assert_allclose(got, wanted.permute(2, 0, 1).numpy(), rtol=1e-12, atol=1e-12)


def test_delays_of_channels() -> None:
    x = np.arange(1, 13).reshape(6, 1, 2)
    y, _ = _over_time(Delay(np.array([0, 3])), Type((2,), sums(1, 12)), x)
    assert y[:, 0, 0].tolist() == [1, 3, 5, 7, 9, 11]
    assert y[:, 0, 1].tolist() == [0, 0, 0, 2, 4, 6]


def test_zero_joins_the_numbers_of_what_is_late() -> None:
    assert Delay(np.array(1)).infer(Type((2,), current(3, 5)))[0].kind == current(0, 5)
    assert TimeWindow(2, 0).infer(Type((2,), levels(3)))[0] == Type((4,), levels(3))
    assert holding(sums(-5, -1), 0) == sums(-5, 0)
    assert holding(SPIKES, -1) == sums(-1, 1)


def test_a_linear_memory_is_a_convolution_with_its_impulse_response() -> None:
    """As Legendre memory units are trained: m(t) is the sum over s of A^s B u(t - s), by FFT."""
    rng = np.random.default_rng(0)
    a, b, u = rng.normal(size=(5, 5)) / 5, rng.normal(size=(5, 1)), rng.normal(size=(32, SAMPLES, 1))
    m, _ = _over_time(LinearState(a, np.ones(())), Type((5,), REAL), u @ b.T)
    response = np.stack([(np.linalg.matrix_power(a, s) @ b)[:, 0] for s in range(32)])
    spectra = torch.fft.rfft(torch.from_numpy(u[..., 0]), 64, 0)[..., None] * torch.fft.rfft(
        torch.from_numpy(response), 64, 0
    ).unsqueeze(1)
    np.testing.assert_allclose(m, torch.fft.irfft(spectra, 64, 0)[:32].numpy(), atol=1e-9)


def test_an_integer_memory_rounds_to_the_nearest_and_clips() -> None:
    op = LinearState(np.array([[3]]), np.array(2), np.array([1]), 2, 10)
    y, _ = _over_time(op, Type((1,), sums(-99, 99)), np.array([[[4]], [[0]], [[99]], [[-99]]]))
    assert y.ravel().tolist() == [2, 2, 10, -10]  # (8 + 1 + 2) >> 2, (6 + 1 + 2) >> 2, clipped, clipped


def test_a_leaky_sum_is_a_weighted_one() -> None:
    x = np.random.default_rng(0).normal(size=(6, SAMPLES, 3))
    y, _ = _over_time(LeakySum(0.8), Type((3,), REAL), x)
    np.testing.assert_allclose(y[-1], sum(0.8 ** (5 - t) * x[t] for t in range(6)))


def test_an_integer_leaky_sum_rounds_toward_zero_and_reaches_no_further_than_proved() -> None:
    op, kind = LeakySum(3277, np.array([-1]), 2), Type((1,), sums(-3, 5))
    assert op.infer(kind)[0].kind == current(-65, 95)  # -13 and 19 over 819/4096
    y, _ = _over_time(op, kind, np.array([[[1]], [[-1]], [[0]]]))
    assert y.ravel().tolist() == [3, -3, -3]  # 3 ; trunc(2.4) - 5 ; trunc(-2.4) - 1


def test_constants_of_each_step_and_the_last_one_stays() -> None:
    scale, offset = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.5], [-0.5]])
    y, _ = _over_time(StepAffine(scale, offset), Type((2,), REAL), np.ones((3, 1, 2)))
    assert y[:, 0].tolist() == [[1.5, 2.5], [2.5, 3.5], [2.5, 3.5]]


def test_each_step_is_a_rescale() -> None:
    rng = np.random.default_rng(0)
    factor, offset = rng.integers(-30000, 30000, (3, 2, 1)), rng.integers(-9, 9, (3, 1, 4))
    op, kind = StepRescale(factor, 12, -200, 150, offset), Type((2, 4), sums(-50, 50))
    x = rng.integers(-50, 51, (3, SAMPLES, 2, 4))
    y, _ = _over_time(op, kind, x)
    for step in range(3):
        (wanted,) = Rescale(factor[step], 12, -200, 150, offset[step]).evaluate(x[step])
        np.testing.assert_array_equal(y[step], wanted)


@pytest.mark.parametrize(
    ("op", "dense", "caused"),
    [
        (Delay(np.array(2)), 0, 0),
        (TimeWindow(2, 0), 0, 0),
        (LeakySum(2048), 12, 5),
        (StepRescale(np.ones((1, 1), int), 0, 0, 9, np.zeros((1, 1), int)), 12, 12),
        (LinearState(np.eye(4, dtype=int), np.array(1), limit=9), 48, 12),  # 3 rows: 4 * 4, 4 weights
    ],
    ids=lambda value: value.name if isinstance(value, StatefulOp) else "",
)
def test_work(op: StatefulOp, dense: int, caused: int) -> None:
    x = np.zeros((1, 3, 4), np.int64)
    x.reshape(-1)[:5] = 1
    assert op.dense_operations(Type((3, 4), SPIKES)) == dense
    assert op.operations(x).tolist() == [caused]


@pytest.mark.parametrize("fires", [False, True])
def test_only_a_sum_that_no_neuron_follows_answers_at_the_end(fires: bool) -> None:
    builder = GraphBuilder("g", Stage.CANONICAL)
    x = builder.input("x", Type((2,), SPIKES))
    (y,) = builder.add("sum", Accumulate(3), x)
    if fires:
        (y,) = builder.add("lif", Neuron(0.5, 0.5, 1.0), y)
    builder.output(y)
    assert builder.build().answers_at_the_end is not fires


def test_float_graphs_of_spikes_compute_in_floating_point() -> None:
    builder = GraphBuilder("g", Stage.CANONICAL)
    x = builder.input("x", Type((2,), SPIKES))
    (y,) = builder.add("fade", LeakySum(0.3), x)
    (y,) = builder.add("memory", LinearState(np.eye(2) * 0.5, np.ones(2)), y)
    (y,) = builder.add("tuned", StepAffine(np.full((2, 1), 0.1), np.zeros((2, 1))), y)
    (y,) = builder.add("window", TimeWindow(2, 0), *builder.add("late", Delay(np.array(1)), y))
    builder.output(y)
    graph = builder.build()
    run = Interpreter(graph)
    run.reset(1)
    for _ in range(4):
        last = run.step(np.ones((1, 2)))["window"]
    assert graph.types["memory"] == Type((2,), REAL)
    # after 1, 1.3, 1.39 the memory holds 1, 1.8, 2.29; the window sees steps 2 and 3
    np.testing.assert_allclose(last[0], [0.18, 0.18, 0.229, 0.229])


def _key_values(op: StatefulOp, kinds: tuple[Type, ...], k: Array, v: Array) -> Array:
    """Results [steps, batch, ...]; states must stay within their proofs."""
    batch = k.shape[1]
    state = {name: np.broadcast_to(x, (batch, *x.shape)) for name, x in op.initial(*kinds).items()}
    results = []
    for now in zip(k, v, strict=True):
        (y,), state = op.step(now, state)
        results.append(y)
        for name, declared in op.states(*kinds).items():
            if declared.kind.is_integer:
                assert declared.kind.bounds[0] <= state[name].min()
                assert state[name].max() <= declared.kind.bounds[1]
    return np.stack(results)


@settings(max_examples=60)
@given(cases("integer_key_value", integer=True), SEEDS)
def test_fading_means_stay_within_the_values(case: Case, seed: int) -> None:
    assert isinstance(case.op, StatefulOp)
    rng = np.random.default_rng(seed)
    k, v = (np.stack([random_values(rng, kind, SAMPLES) for _ in range(STEPS)]) for kind in case.types)
    y = _key_values(case.op, case.types, k, v)
    low, high = case.op.infer(*case.types)[0].kind.bounds
    assert y.dtype == np.int64
    assert low <= y.min()
    assert y.max() <= high


def test_a_fading_mean_is_the_quotient_of_two_fading_sums() -> None:
    rng = np.random.default_rng(5)
    decay, bonus = -rng.uniform(0.05, 1, 3), rng.normal(size=3)
    k, v = rng.normal(size=(2, 12, SAMPLES, 3)) * 2
    kinds = (Type((3,), REAL),) * 2
    got = _key_values(WeightedKeyValue(decay, bonus), kinds, k, v)
    for t in range(12):
        age = np.arange(t)[::-1].reshape(-1, 1, 1)
        weights = np.exp(k[:t] + age * decay)
        now = np.exp(k[t] + bonus)
        wanted = ((weights * v[:t]).sum(0) + now * v[t]) / (weights.sum(0) + now)
        np.testing.assert_allclose(got[t], wanted, rtol=1e-12)


def test_fading_means_of_integers_come_near_those_of_real_numbers() -> None:
    rng = np.random.default_rng(6)
    decay, bonus = -rng.uniform(0.01, 1, 4), rng.normal(size=4)
    k, v = rng.normal(size=(200, 1, 4)) * 3, rng.normal(size=(200, 1, 4))
    wanted = _key_values(WeightedKeyValue(decay, bonus), (Type((4,), REAL),) * 2, k, v)
    unit, step, reach = 16 / 4095, 4 / 2**15, 4095
    distance = np.arange(-reach, reach + 1) * unit
    share = np.rint(2.0**14 / (1 + np.exp(-distance))).astype(np.int64)
    growth = np.rint(np.log1p(np.exp(-distance[reach:])) / unit).astype(np.int64)
    fading, extra = (np.rint(x / unit).astype(np.int64) for x in (decay, bonus))
    op = IntegerKeyValue(fading, extra, share, growth)
    kinds = (Type((4,), sums(-9000, 9000)), Type((4,), sums(-(2**15) + 1, 2**15 - 1)))
    keys, values = (np.rint(x / size).astype(np.int64) for x, size in ((k, unit), (v, step)))
    got = _key_values(op, kinds, keys, values)
    assert np.abs(got * step - wanted).max() < 0.05
