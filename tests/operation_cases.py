"""Random uses of every operation of the graph, for tests that must hold for all of them.

:data:`CASES` has an entry for each name of ``all_ops()``; a test compares the two, so that a new
operation cannot be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import REAL, SPIKES, Kind, Type, current, index, levels, sums
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.avg_pool2d import AvgPool2d
from spikeloom.compiler.graph.ops.batch_norm import BatchNorm
from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.compiler.graph.ops.clip import Clip
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.count_code import CountCode
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.divide import Divide
from spikeloom.compiler.graph.ops.elementwise import FUNCTIONS, Elementwise
from spikeloom.compiler.graph.ops.embedding import Embedding
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.gated_state import GatedState
from spikeloom.compiler.graph.ops.integer_key_value import IntegerKeyValue
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.integer_norm import IntegerNorm
from spikeloom.compiler.graph.ops.layer_norm import LayerNorm
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.linear_state import LinearState
from spikeloom.compiler.graph.ops.lookup import Lookup
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.mean import Mean
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.reduce_max import ReduceMax
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.resonator import Resonator
from spikeloom.compiler.graph.ops.sigma_delta import SigmaDelta
from spikeloom.compiler.graph.ops.slice import Slice
from spikeloom.compiler.graph.ops.softmax import Softmax
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.step_affine import StepAffine
from spikeloom.compiler.graph.ops.step_rescale import StepRescale
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.graph.ops.time_mean import TimeMean
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.graph.ops.upsample2d import Upsample2d
from spikeloom.compiler.graph.ops.weighted_key_value import WeightedKeyValue
from spikeloom.compiler.graph.ops.window_softmax import WindowSoftmax


@dataclass(frozen=True)
class Case:
    """An operation and types that fit it."""

    op: Op
    types: tuple[Type, ...]


@dataclass(frozen=True)
class Choices:
    """What the builders below draw from: integers from hypothesis, arrays from a seeded generator."""

    draw: st.DrawFn
    integer: bool
    rng: np.random.Generator

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def kind(self) -> Kind:
        return self.draw(INTEGER_KINDS) if self.integer else REAL

    def shape(self, least: int = 1, most: int = 3) -> tuple[int, ...]:
        return tuple(self.draw(st.lists(st.integers(1, 4), min_size=least, max_size=most)))

    def weights(self, *shape: int) -> Array:
        """Weights, a third of them zero."""
        kept = self.rng.random(shape) < 2 / 3
        if self.integer:
            return (self.rng.integers(-127, 128, shape) * kept).astype(np.int8)
        return self.rng.normal(size=shape) * kept

    def bias(self, size: int) -> Array | None:
        if self.number(0, 1):
            return None
        return self.rng.integers(-300, 300, size) if self.integer else self.rng.normal(size=size)


def _interval(name: Callable[[int, int], Kind]) -> st.SearchStrategy[Kind]:
    return st.tuples(st.integers(-6, 6), st.integers(-6, 6)).map(lambda ends: name(min(ends), max(ends)))


INTEGER_KINDS: st.SearchStrategy[Kind] = st.one_of(
    st.just(SPIKES), st.integers(2, 5).map(levels), _interval(sums), _interval(current)
)
"""Every integer kind, with intervals on either side of zero and across it."""


def _convolution(op: type[Conv1d] | type[Conv2d], axes: int) -> Callable[[Choices], Case]:
    def build(choose: Choices) -> Case:
        groups, fan_in, fan_out = choose.number(1, 3), choose.number(1, 3), choose.number(1, 2)
        kernel, stride, padding, dilation, sizes = [], [], [], [], []
        for _ in range(axes):
            kernel.append(choose.number(1, 3))
            stride.append(choose.number(1, 3))
            padding.append(choose.number(0, 2))
            dilation.append(choose.number(1, 2))
            span = dilation[-1] * (kernel[-1] - 1) + 1
            sizes.append(max(1, span - 2 * padding[-1]) + choose.number(0, 4))
        weight = choose.weights(groups * fan_out, fan_in, *kernel)
        bias = choose.bias(len(weight))
        geometry = (tuple(stride), tuple(padding), tuple(dilation))
        return Case(op(weight, bias, *geometry, groups), (Type((groups * fan_in, *sizes), choose.kind()),))

    return build


def _linear(choose: Choices) -> Case:
    shape = choose.shape()
    weight = choose.weights(choose.number(1, 4), shape[-1])
    return Case(Linear(weight, choose.bias(len(weight))), (Type(shape, choose.kind()),))


def _matmul(choose: Choices) -> Case:
    lead, (i, k, j) = choose.shape(0, 2), choose.shape(3, 3)
    return Case(MatMul(), (Type((*lead, i, k), choose.kind()), Type((*lead, k, j), choose.kind())))


def _max_pool(choose: Choices) -> Case:
    kernel = (choose.number(1, 3), choose.number(1, 3))
    stride = (choose.number(1, 3), choose.number(1, 3))
    padding = tuple(choose.number(0, k // 2) for k in kernel)
    sizes = tuple(max(1, k - 2 * p) + choose.number(0, 4) for k, p in zip(kernel, padding, strict=True))
    return Case(MaxPool2d(kernel, stride, padding), (Type((choose.number(1, 3), *sizes), choose.kind()),))


def _batch_norm(choose: Choices) -> Case:
    shape = choose.shape()
    gain, bias, mean = choose.rng.normal(size=(3, shape[0]))
    variance = choose.rng.uniform(0.01, 4, shape[0])
    return Case(BatchNorm(gain, bias, mean, variance, 1e-5), (Type(shape, REAL),))


def _affine(choose: Choices) -> Case:
    shape = choose.shape()

    def constant() -> Array:
        kept = choose.number(0, len(shape))  # how many trailing axes the constant has
        sizes = [size if choose.number(0, 1) else 1 for size in shape[len(shape) - kept :]]
        return choose.rng.normal(size=sizes)

    return Case(Affine(constant(), constant()), (Type(shape, REAL),))


def _elementwise(op: type[Add] | type[Mul]) -> Callable[[Choices], Case]:
    def build(choose: Choices) -> Case:
        shape = choose.shape()
        thin = [tuple(1 if choose.number(0, 3) == 0 else size for size in shape) for _ in range(2)]
        return Case(op(), tuple(Type(axes, choose.kind()) for axes in thin))

    return build


def _broadcast(choose: Choices) -> Case:
    shape = choose.shape()
    thin = tuple(1 if choose.number(0, 1) else size for size in shape)
    return Case(Broadcast(shape), (Type(thin, choose.kind()),))


def _slice(choose: Choices) -> Case:
    shape = choose.shape()
    axis = choose.number(0, len(shape) - 1)
    start = choose.number(0, shape[axis] - 1)
    stop = choose.number(start + 1, shape[axis])
    return Case(Slice(axis, start, stop, choose.number(1, 2)), (Type(shape, choose.kind()),))


def _pad(choose: Choices) -> Case:
    shape = choose.shape()
    before, after = (tuple(choose.number(0, 2) for _ in shape) for _ in range(2))
    return Case(Pad(before, after, float(choose.number(-2, 3))), (Type(shape, choose.kind()),))


def _upsample(choose: Choices) -> Case:
    scale = (choose.number(1, 3), choose.number(1, 3))
    return Case(Upsample2d(scale), (Type(choose.shape(3, 3), choose.kind()),))


def _avg_pool(choose: Choices) -> Case:
    case = _max_pool(choose)
    assert isinstance(case.op, MaxPool2d)
    geometry = (case.op.kernel, case.op.stride, case.op.padding)
    return Case(AvgPool2d(*geometry, bool(choose.number(0, 1))), case.types)


def _time_mean(choose: Choices) -> Case:
    return Case(TimeMean(choose.number(1, 5)), (Type(choose.shape(), REAL),))


def _accumulate(choose: Choices) -> Case:
    return Case(Accumulate(choose.number(6, 9)), (Type(choose.shape(), choose.kind()),))


def _delay(choose: Choices) -> Case:
    shape = choose.shape()
    steps = choose.rng.integers(0, 4, [size if choose.number(0, 1) else 1 for size in shape])
    steps.flat[0] = choose.number(1, 3)
    return Case(Delay(steps), (Type(shape, choose.kind()),))


def _time_window(choose: Choices) -> Case:
    shape = choose.shape()
    size, dilation = choose.number(2, 4), choose.number(1, 2)
    ahead = choose.number(0, (size - 1) * dilation)
    op = TimeWindow(size, choose.number(0, len(shape) - 1), dilation, ahead)
    return Case(op, (Type(shape, choose.kind()),))


def _time_gate(choose: Choices) -> Case:
    return Case(TimeGate(choose.number(0, 3), choose.number(1, 4)), (Type(choose.shape(), choose.kind()),))


def _divide(choose: Choices) -> Case:
    shape = choose.shape()
    other = (*shape[:-1], shape[-1] if choose.number(0, 1) else 1)
    if not choose.integer:
        return Case(Divide(), (Type(shape, REAL), Type(other, REAL)))
    divisor = sums(choose.number(-3, 2), choose.number(3, 90))
    op = Divide(choose.number(0, 12), choose.number(1, 3000))
    return Case(op, (Type(shape, choose.kind()), Type(other, divisor)))


def _function(choose: Choices) -> Case:
    return Case(Elementwise(choose.draw(st.sampled_from(sorted(FUNCTIONS)))), (Type(choose.shape(), REAL),))


def _lookup(choose: Choices) -> Case:
    table = choose.rng.integers(-(2**15), 2**15, choose.number(1, 40))
    return Case(Lookup(choose.number(-20, 5), table), (Type(choose.shape(), choose.kind()),))


def _layer_norm(choose: Choices) -> Case:
    shape = choose.shape()
    gain, bias = choose.rng.normal(size=(2, shape[-1]))
    op = LayerNorm(gain, bias if choose.number(0, 1) else None, 0.1, bool(choose.number(0, 1)))
    return Case(op, (Type(shape, REAL),))


def _integer_norm(choose: Choices) -> Case:
    op = IntegerNorm(choose.number(0, 12), choose.number(1, 50), bool(choose.number(0, 1)))
    return Case(op, (Type(choose.shape(), choose.kind()),))


def _embedding(choose: Choices) -> Case:
    tokens, width = choose.draw(st.sampled_from((2, 3, 9, 300, 70_000))), choose.number(1, 4)
    wide = tokens > 256 or choose.number(0, 1)
    kind = Type(choose.shape(0, 2), index(tokens) if wide else levels(tokens - 1))
    if not choose.integer:
        return Case(Embedding(choose.rng.normal(size=(tokens, width))), (kind,))
    return Case(Embedding(choose.rng.integers(-(2**15), 2**15, (tokens, width))), (kind,))


def _gated_state(choose: Choices) -> Case:
    shape = choose.shape()
    if not choose.integer:
        return Case(GatedState(), (Type(shape, REAL),) * 2)
    shift = choose.number(0, 12)
    gates = sums(choose.number(-(2**shift), 0), choose.number(1, 2**shift))
    return Case(GatedState(shift, choose.number(1, 5000)), (Type(shape, gates), Type(shape, choose.kind())))


def _clip(choose: Choices) -> Case:
    return Case(Clip(-choose.number(0, 2) / 4, choose.number(0, 5) / 3), (Type(choose.shape(), REAL),))


def _count_code(choose: Choices) -> Case:
    shape = choose.shape()
    other = (*shape[:-1], shape[-1] if choose.number(0, 1) else 1)
    op = CountCode(choose.number(1, 127), choose.number(0, 5) if choose.integer else 0)
    kinds = (choose.kind(), sums(choose.number(-3, 2), choose.number(3, 90)))
    first, second = kinds if choose.integer else (REAL, REAL)
    return Case(op, (Type(shape, first), Type(other, second)))


def _window_softmax(choose: Choices) -> Case:
    shape = choose.shape()
    return Case(WindowSoftmax(choose.number(0, len(shape) - 1)), (Type(shape, REAL),))


def _weighted_key_value(choose: Choices) -> Case:
    shape = choose.shape()
    decay, bonus = -choose.rng.uniform(0.01, 2, shape[-1:]), choose.rng.normal(size=shape[-1:])
    return Case(WeightedKeyValue(decay, bonus), (Type(shape, REAL),) * 2)


def _integer_key_value(choose: Choices) -> Case:
    shape, reach = choose.shape(), choose.number(1, 300)
    distance = np.arange(-reach, reach + 1) / 40
    share = np.rint(2.0**14 / (1 + np.exp(-distance))).astype(np.int64)
    growth = np.rint(40 * np.log1p(np.exp(-distance[reach:]))).astype(np.int64)
    decay, bonus = choose.rng.integers(-90, 0, shape[-1:]), choose.rng.integers(-40, 40, shape[-1:])
    return Case(IntegerKeyValue(decay, bonus, share, growth), (Type(shape, choose.kind()),) * 2)


def _reduce_max(choose: Choices) -> Case:
    shape = choose.shape()
    return Case(ReduceMax(choose.number(0, len(shape) - 1)), (Type(shape, choose.kind()),))


def _softmax(choose: Choices) -> Case:
    shape = choose.shape()
    kept = choose.rng.random(shape) < 0.7
    kept[..., :1] = True
    axis = len(shape) - 1
    if choose.number(0, 1):
        return Case(Softmax(axis, kept), (Type(shape, REAL),))
    return Case(Softmax(choose.number(0, axis)), (Type(shape, REAL),))


def _leaky_sum(choose: Choices) -> Case:
    shape = choose.shape()
    bias = choose.bias(shape[-1])
    if choose.integer:
        op = LeakySum(choose.number(0, 4090), bias, choose.number(0, 6))
    else:
        op = LeakySum(float(choose.rng.uniform(0, 0.99)), bias)
    return Case(op, (Type(shape, choose.kind()),))


def _linear_state(choose: Choices) -> Case:
    shape = choose.shape()
    n = shape[-1]
    if not choose.integer:
        op = LinearState(choose.rng.normal(size=(n, n)) / n, choose.rng.normal(size=n))
        return Case(op, (Type(shape, REAL),))
    shift = choose.number(0, 12)
    matrix = choose.rng.integers(-(2**shift), 2**shift + 1, (n, n))
    gain = choose.rng.integers(-(2**shift), 2**shift + 1, n)
    op = LinearState(matrix, gain, choose.bias(n), shift, choose.number(1, 5000))
    return Case(op, (Type(shape, choose.kind()),))


def _step_affine(choose: Choices) -> Case:
    shape, steps = choose.shape(), choose.number(1, 3)
    scale, offset = choose.rng.normal(size=(2, steps, shape[0], *(1,) * (len(shape) - 1)))
    return Case(StepAffine(scale, offset), (Type(shape, REAL),))


def _step_rescale(choose: Choices) -> Case:
    shape, steps = choose.shape(), choose.number(1, 3)
    factor = choose.rng.integers(-(2**15) + 1, 2**15, (steps, shape[-1]))
    offset = choose.rng.integers(-20, 20, (steps, *shape))
    limit = choose.number(0, 40)
    op = StepRescale(factor, choose.number(0, 20), -limit, limit, offset)
    return Case(op, (Type(shape, choose.kind()),))


def _sigma_delta(choose: Choices) -> Case:
    shape = choose.shape()
    op = SigmaDelta(
        threshold=choose.number(0, 40),
        bias=choose.rng.integers(-30, 30, shape[-1]),
        output_shift=choose.number(0, 3),
        input_shift=choose.number(0, 3),
        integrates=bool(choose.number(0, 1)),
        rectifies=bool(choose.number(0, 1)),
        limit=choose.number(1, 60),
    )
    return Case(op, (Type(shape, choose.kind()),))


def _recurrent_neuron(choose: Choices) -> Case:
    shape, weight = _way_back(choose)
    soft = bool(choose.number(0, 1))
    op = RecurrentNeuron(
        weight,
        choose.rng.integers(0, 300, (1, choose.number(0, 1) * (shape[-1] - 1) + 1)),
        choose.rng.integers(-50, 50, shape[-1]),
        choose.number(1, 4096),
        choose.number(0, 3),
        choose.number(1, 4095) if choose.number(0, 1) else None,
        reset_by=choose.rng.integers(1, 300, shape[-1]) if soft else None,
        wait=choose.number(1, 3),
    )
    return Case(op, (Type(shape, choose.kind()),))


def _way_back(choose: Choices) -> tuple[tuple[int, ...], Array]:
    """A layer's shape, and weights from all its neurons to all, or from each to itself."""
    if choose.number(0, 1):
        size = choose.number(1, 5)
        return (size,), choose.weights(size, size)
    shape = choose.shape()
    return shape, choose.weights(shape[-1])


def _feedback_neuron(choose: Choices) -> Case:
    shape, weight = _way_back(choose)
    ahead = (
        choose.weights(shape[-1], choose.number(1, 4)) if len(shape) == 1 and choose.number(0, 1) else None
    )
    op = FeedbackNeuron(
        weight,
        decay=float(choose.rng.uniform(0, 1)),
        gain=1.0,
        threshold=float(choose.rng.uniform(0.1, 2)),
        reset="soft" if choose.number(0, 1) else "hard",
        strict=bool(choose.number(0, 1)),
        current_decay=0.5 if choose.number(0, 1) else None,
        ahead=ahead,
        bias=choose.weights(shape[-1]) if choose.number(0, 1) else None,
        wait=choose.number(1, 3),
    )
    return Case(op, (Type(shape if ahead is None else ahead.shape[1:], choose.kind()),))


def _resonator(choose: Choices) -> Case:
    angle, share = choose.rng.uniform(-np.pi, np.pi), choose.rng.uniform(0, 4096)
    cosine, sine = int(share * np.cos(angle)), int(share * np.sin(angle))
    op = Resonator(cosine, sine, choose.number(1, 60), choose.number(0, 3), bool(choose.number(0, 1)))
    shape = choose.shape()
    return Case(op, (Type(shape, choose.kind()), Type(shape, choose.kind())))


def _rescale(choose: Choices) -> Case:
    shape = choose.shape()
    factor = choose.rng.integers(-(2**15) + 1, 2**15, [size if choose.number(0, 1) else 1 for size in shape])
    shift, limit = choose.number(0, 20), choose.number(0, 40)
    offset = choose.rng.integers(-20, 20, shape[-1:]) if choose.number(0, 1) else None
    return Case(Rescale(factor, shift, -limit, limit, offset), (Type(shape, choose.kind()),))


def _some_axes(choose: Choices, rank: int) -> tuple[int, ...]:
    return tuple(sorted(choose.draw(st.sets(st.integers(0, rank - 1), min_size=1))))


def _reduce(op: type[Mean] | type[ReduceSum]) -> Callable[[Choices], Case]:
    def build(choose: Choices) -> Case:
        shape = choose.shape()
        return Case(op(_some_axes(choose, len(shape))), (Type(shape, choose.kind()),))

    return build


def _reshape(choose: Choices) -> Case:
    first, second = choose.shape(2, 2)
    new = choose.draw(st.sampled_from([(first * second,), (second, first), (1, first * second)]))
    return Case(Reshape(new), (Type((first, second), choose.kind()),))


def _transpose(choose: Choices) -> Case:
    shape = choose.shape()
    order = choose.draw(st.permutations(range(len(shape))))
    return Case(Transpose(tuple(order)), (Type(shape, choose.kind()),))


def _split(choose: Choices) -> Case:
    sizes, rest = choose.shape(1, 3), choose.shape(0, 2)
    axis = choose.number(0, len(rest))
    shape = (*rest[:axis], sum(sizes), *rest[axis:])
    return Case(Split(axis, sizes), (Type(shape, choose.kind()),))


def _concat(choose: Choices) -> Case:
    sizes, rest = choose.shape(1, 3), choose.shape(0, 2)
    axis = choose.number(0, len(rest))
    shapes = [(*rest[:axis], size, *rest[axis:]) for size in sizes]
    return Case(Concat(axis), tuple(Type(shape, choose.kind()) for shape in shapes))


def _neuron(choose: Choices) -> Case:
    soft = bool(choose.number(0, 1))
    decay, gain, drift = choose.rng.uniform(0, 1, 3)
    rest = 0.0 if soft else float(choose.rng.normal())
    reset = "soft" if soft else "hard"
    op = Neuron(float(decay), float(gain), rest + 0.7, float(drift), reset, rest)  # type: ignore[arg-type]
    return Case(op, (Type(choose.shape(), REAL),))


def _integer_neuron(choose: Choices) -> Case:
    """Any neuron whose proof succeeds: leaks, currents that decay, soft resets, levels, few bits."""
    shape, kind = choose.shape(), choose.kind()
    channels = (shape[0], *(1,) * (len(shape) - 1))
    fraction_bits = choose.number(0, 3)
    unit = 2**fraction_bits
    depth = choose.number(1, 3)
    theta = np.sort(choose.rng.integers(0, 9 * unit, (depth, *channels)), axis=0)
    soft = choose.number(0, 1)
    for state_bits in (8, 12, 32):  # narrow states where they are proved
        op = IntegerNeuron(
            theta=theta,
            bias=choose.rng.integers(-2 * unit, 2 * unit, channels),
            decay=choose.draw(st.sampled_from([0, 1, 700, 2048, 4000, 4096])),
            fraction_bits=fraction_bits,
            current_decay=choose.draw(st.sampled_from([None, 1, 1024, 4096])),
            reset="soft" if soft else "hard",
            reset_by=choose.rng.integers(1, 9 * unit, channels) if soft else None,
            state_bits=state_bits,
            horizon=choose.number(1, 6),
        )
        try:
            op.infer(Type(shape, kind))
        except RuleBrokenError:
            continue
        return Case(op, (Type(shape, kind),))
    raise AssertionError("no state of up to 32 bits holds this neuron")


EQUATIONS: tuple[tuple[tuple[str, ...], tuple[str, ...], str, tuple[str, ...]], ...] = (
    (("v = 0", "a = 0.25"), ("v = b * v + x",), "v >= 1 + 0.7 * a", ("v = v - s", "a = 0.9 * a + s")),
    (("d = 0", "v = 0"), ("d = 0.8 * d + x", "v = v + (d - v) / 3"), "v > 0.7", ("v = where(s, -0.1, v)",)),
    (("p = 0", "q = 0"), ("h = b * x - 0.3 * p + 0.5 * q", "q = p", "p = x"), "h >= 0.5", ()),
    (("v = 0.5",), ("v = v + x",), "(v >= 1) - (v <= -1)", ("v = v - s * b",)),
    (("v = 0",), ("v = v + 0.1 * v * v * b + x",), "round_half_even(v, 4)", ("v = clip(v - s, -1, 1)",)),
    (("v = 0", "w = 0"), ("v = max(v, abs(x))",), "(v >= 1) * (w < 1)", ("w = max(w - 1, 2 * s)",)),
    ((), ("h = min(x, 3 - b)",), "round_half_up(h, 3)", ()),
)  # fmt: skip
"""Adaptive thresholds, compartments, windows, signed and graded spikes, squares, dead times, no state."""


def _equation_neuron(choose: Choices) -> Case:
    states, update, fire, reset = choose.draw(st.sampled_from(EQUATIONS))
    shape = choose.shape()
    channels = (shape[0], *(1,) * (len(shape) - 1))
    values = choose.rng.uniform(-1, 1, (1, *channels))
    if not choose.integer:
        op = EquationNeuron(states, update, fire, reset, ("b",), values)
        return Case(op, (Type(shape, REAL),))
    bits, shift = choose.number(3, 14), choose.number(0, 9)
    gain, bias = (choose.rng.integers(-(2 ** (shift + bits)), 2 ** (shift + bits), channels) for _ in "ab")
    op = EquationNeuron(states, update, fire, reset, ("b",), values, bits, 2**15 - 1, gain, bias, shift)
    return Case(op, (Type(shape, choose.kind()),))


CASES: dict[str, Callable[[Choices], Case]] = {
    "accumulate": _accumulate,
    "add": _elementwise(Add),
    "affine": _affine,
    "avg_pool2d": _avg_pool,
    "batch_norm": _batch_norm,
    "broadcast": _broadcast,
    "concat": _concat,
    "conv1d": _convolution(Conv1d, 1),
    "conv2d": _convolution(Conv2d, 2),
    "equation_neuron": _equation_neuron,
    "integer_neuron": _integer_neuron,
    "delay": _delay,
    "leaky_sum": _leaky_sum,
    "linear": _linear,
    "linear_state": _linear_state,
    "matmul": _matmul,
    "max_pool2d": _max_pool,
    "mean": _reduce(Mean),
    "mul": _elementwise(Mul),
    "neuron": _neuron,
    "pad": _pad,
    "reduce_sum": _reduce(ReduceSum),
    "feedback_neuron": _feedback_neuron,
    "recurrent_neuron": _recurrent_neuron,
    "rescale": _rescale,
    "resonator": _resonator,
    "reshape": _reshape,
    "sigma_delta": _sigma_delta,
    "slice": _slice,
    "split": _split,
    "step_affine": _step_affine,
    "step_rescale": _step_rescale,
    "time_mean": _time_mean,
    "divide": _divide,
    "elementwise": _function,
    "embedding": _embedding,
    "clip": _clip,
    "count_code": _count_code,
    "gated_state": _gated_state,
    "integer_key_value": _integer_key_value,
    "weighted_key_value": _weighted_key_value,
    "window_softmax": _window_softmax,
    "integer_norm": _integer_norm,
    "layer_norm": _layer_norm,
    "lookup": _lookup,
    "reduce_max": _reduce_max,
    "softmax": _softmax,
    "time_gate": _time_gate,
    "time_window": _time_window,
    "transpose": _transpose,
    "upsample2d": _upsample,
}
FLOAT_ONLY = {
    "affine", "avg_pool2d", "batch_norm", "clip", "elementwise", "feedback_neuron", "layer_norm", "mean",
    "neuron", "softmax", "step_affine", "time_mean", "weighted_key_value", "window_softmax",
}  # fmt: skip
INTEGER_ONLY = {
    "integer_key_value", "integer_neuron", "integer_norm", "lookup", "recurrent_neuron", "rescale",
    "resonator", "sigma_delta", "step_rescale",
}  # fmt: skip


@st.composite
def cases(draw: st.DrawFn, name: str, integer: bool) -> Case:
    """A random use of an operation, in integers or in floating point."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return CASES[name](Choices(draw, integer, rng))


def random_values(rng: np.random.Generator, kind: Type, batch: int = 2) -> Array:
    """Values [batch, ...] of a type: anywhere in its interval, or all at its ends."""
    shape = (batch, *kind.shape)
    if not kind.kind.is_integer:
        sparse: NDArray[np.float64] = rng.normal(size=shape) * (rng.random(shape) < 0.7)
        return sparse
    low, high = kind.kind.bounds
    if rng.random() < 0.5:
        return rng.integers(low, high + 1, shape)
    return np.where(rng.random(shape) < rng.choice([0, 0.5, 1]), low, high).astype(np.int64)
