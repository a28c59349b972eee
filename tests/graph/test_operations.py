"""Every operation against PyTorch, against its own type rule, and against counting by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from spikeloom.compiler.graph.kinds import REAL, SPIKES, Kind, Type, current, levels, sums
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, StatefulOp, all_ops, register
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
from spikeloom.compiler.graph.ops.elementwise import Elementwise
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
from tests.operation_cases import CASES, FLOAT_ONLY, INTEGER_ONLY, Case, cases, random_values

STATELESS = sorted(name for name, op in all_ops().items() if not issubclass(op, StatefulOp))
IN_FLOAT = [name for name in STATELESS if name not in INTEGER_ONLY]
IN_INTEGERS = [name for name in STATELESS if name not in FLOAT_ONLY]
SEEDS = st.integers(0, 2**32 - 1)
EXAMPLES = settings(max_examples=40)


def test_every_operation_has_cases() -> None:
    assert set(CASES) == set(all_ops())


# --- what the operations compute, by PyTorch -----------------------------------------------------------

Torch = Callable[..., tuple[Tensor, ...]]


def _convolution(op: Conv1d | Conv2d, x: Tensor) -> tuple[Tensor, ...]:
    bias = None if op.bias is None else torch.from_numpy(op.bias).to(x.dtype)
    weight = torch.from_numpy(op.weight).to(x.dtype)
    call = functional.conv1d if isinstance(op, Conv1d) else functional.conv2d
    return (call(x, weight, bias, op.stride, op.padding, op.dilation, op.groups),)


def _linear(op: Linear, x: Tensor) -> tuple[Tensor, ...]:
    bias = None if op.bias is None else torch.from_numpy(op.bias).to(x.dtype)
    return (functional.linear(x, torch.from_numpy(op.weight).to(x.dtype), bias),)


def _batch_norm(op: BatchNorm, x: Tensor) -> tuple[Tensor, ...]:
    gain, bias, mean, variance = map(torch.from_numpy, (op.gain, op.bias, op.mean, op.variance))
    return (functional.batch_norm(x, mean, variance, gain, bias, eps=op.epsilon),)


def _pad(op: Pad, x: Tensor) -> tuple[Tensor, ...]:
    pairs = zip(reversed(op.before), reversed(op.after), strict=True)
    return (functional.pad(x, [width for pair in pairs for width in pair], value=op.value),)


def _avg_pool(op: AvgPool2d, x: Tensor) -> tuple[Tensor, ...]:
    return (functional.avg_pool2d(x, op.kernel, op.stride, op.padding, False, op.count_include_pad),)


def _slice(op: Slice, x: Tensor) -> tuple[Tensor, ...]:
    return (x.movedim(op.axis + 1, 0)[op.start : op.stop : op.step].movedim(0, op.axis + 1),)


def _rescale(op: Rescale, x: Tensor) -> tuple[Tensor, ...]:
    product = x * torch.from_numpy(op.factor)
    moved = torch.floor(product / 2**op.shift + 0.5)
    return ((moved if op.offset is None else moved + torch.from_numpy(op.offset)).clamp(op.lo, op.hi),)


def _divide(op: Divide, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    if op.limit == 0:
        return (a / b,)
    b = b.clamp(min=1)
    rounded = torch.div(a * 2**op.shift + torch.floor(b / 2), b, rounding_mode="floor")
    return (rounded.clamp(-op.limit, op.limit),)


def _layer_norm(op: LayerNorm, x: Tensor) -> tuple[Tensor, ...]:
    gain = torch.from_numpy(op.gain)
    bias = None if op.bias is None else torch.from_numpy(op.bias)
    if op.centred:
        return (functional.layer_norm(x, gain.shape, gain, bias, op.epsilon),)
    y = functional.rms_norm(x, gain.shape, gain, op.epsilon)
    return (y if bias is None else y + bias,)


def _integer_norm(op: IntegerNorm, x: Tensor) -> tuple[Tensor, ...]:
    """Row by row in Python's integers."""
    rows = []
    for row in x.reshape(-1, x.shape[-1]).long().tolist():
        n = len(row)
        mean = (sum(row) + n // 2) // n if op.centred else 0
        apart = [number - mean for number in row]
        root = max(1, math.isqrt((sum(d * d for d in apart) + op.added) * 4**op.EXTRA))
        gain = math.isqrt(n * 4 ** (op.digits + op.EXTRA))
        rows.append([(d * gain + root // 2) // root for d in apart])
    return (torch.tensor(rows, dtype=x.dtype).reshape(x.shape),)


ELEMENTWISE: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "elu": functional.elu,
    "exp": torch.exp,
    "gelu": functional.gelu,
    "logsigmoid": functional.logsigmoid,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "softplus": functional.softplus,
    "square": torch.square,
    "tanh": torch.tanh,
}

TORCH: dict[str, Torch] = {
    "divide": _divide,
    "embedding": lambda op, x: (functional.embedding(x.long(), torch.from_numpy(op.weight)),),
    "elementwise": lambda op, x: (ELEMENTWISE[op.function](x),),
    "clip": lambda op, x: (x.clamp(op.lo, op.hi),),
    "integer_norm": _integer_norm,
    "layer_norm": _layer_norm,
    "lookup": lambda op, x: (torch.from_numpy(op.table)[(x - op.lo).clamp(0, len(op.table) - 1).long()],),
    "reduce_max": lambda op, x: (x.amax(op.axis + 1, keepdim=True),),
    "softmax": lambda op, x: (
        (x if op.kept is None else x.masked_fill(~torch.from_numpy(op.kept), -torch.inf)).softmax(
            op.axis + 1
        ),
    ),
    "avg_pool2d": _avg_pool,
    "broadcast": lambda op, x: (x.expand(len(x), *op.shape),),
    "mul": lambda op, a, b: (a * b,),
    "pad": _pad,
    "rescale": _rescale,
    "slice": _slice,
    "upsample2d": lambda op, x: (x.repeat_interleave(op.scale[0], 2).repeat_interleave(op.scale[1], 3),),
    "add": lambda op, a, b: (a + b,),
    "affine": lambda op, x: (x * torch.from_numpy(op.scale) + torch.from_numpy(op.offset),),
    "batch_norm": _batch_norm,
    "concat": lambda op, *inputs: (torch.cat(inputs, op.axis + 1),),
    "conv1d": _convolution,
    "conv2d": _convolution,
    "linear": _linear,
    "matmul": lambda op, a, b: (a @ b,),
    "max_pool2d": lambda op, x: (functional.max_pool2d(x, op.kernel, op.stride, op.padding),),
    "mean": lambda op, x: (x.mean([axis + 1 for axis in op.axes]),),
    "reduce_sum": lambda op, x: (x.sum([axis + 1 for axis in op.axes]),),
    "reshape": lambda op, x: (x.reshape(len(x), *op.shape),),
    "split": lambda op, x: torch.split(x, list(op.sizes), op.axis + 1),
    "transpose": lambda op, x: (x.permute(0, *(axis + 1 for axis in op.order)),),
}


def _by_torch(case: Case, inputs: list[Array]) -> list[Array]:
    tensors = [torch.from_numpy(np.asarray(x, np.float64)) for x in inputs]
    return [result.numpy() for result in TORCH[case.op.name](case.op, *tensors)]


@pytest.mark.parametrize("name", IN_FLOAT)
def test_float_results_are_those_of_pytorch(name: str) -> None:
    @EXAMPLES
    @given(cases(name, integer=False), SEEDS)
    def check(case: Case, seed: int) -> None:
        inputs = _inputs(case, seed)
        for got, wanted in zip(case.op.evaluate(*inputs), _by_torch(case, inputs), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)

    check()


@pytest.mark.parametrize("name", IN_INTEGERS)
def test_integer_results_are_exact_and_within_the_proven_interval(name: str) -> None:
    @EXAMPLES
    @given(cases(name, integer=True), SEEDS)
    def check(case: Case, seed: int) -> None:
        inputs = _inputs(case, seed)
        types = case.op.infer(*case.types)
        results = case.op.evaluate(*inputs)
        for got, wanted, kind in zip(results, _by_torch(case, inputs), types, strict=True):
            assert got.dtype == np.int64
            assert got.shape == (len(inputs[0]), *kind.shape)
            np.testing.assert_array_equal(got, wanted)
            low, high = kind.kind.bounds
            assert low <= got.min()
            assert got.max() <= high

    check()


@pytest.mark.parametrize("name", IN_FLOAT)
def test_real_inputs_give_real_results_of_the_declared_shape(name: str) -> None:
    @EXAMPLES
    @given(cases(name, integer=False), SEEDS)
    def check(case: Case, seed: int) -> None:
        results = case.op.evaluate(*_inputs(case, seed))
        for got, kind in zip(results, case.op.infer(*case.types), strict=True):
            assert got.shape[1:] == kind.shape
            assert kind.kind == REAL

    check()


def _inputs(case: Case, seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [random_values(rng, kind) for kind in case.types]


@pytest.mark.parametrize("far", [-(2**40), -1e300])
def test_padding_of_a_pool_never_wins_over_negative_inputs(far: float) -> None:
    pool = MaxPool2d((3, 3), (2, 2), (1, 1))
    assert (pool.evaluate(np.full((1, 1, 4, 4), far))[0] == far).all()


@given(cases("linear", integer=True))
@EXAMPLES
def test_bounds_of_a_linear_map_are_reached(case: Case) -> None:
    op, (x,) = case.op, case.types
    assert isinstance(op, Linear)
    low, high = x.kind.bounds
    (out,) = op.infer(x)
    extremes = []
    for row in op.weight.astype(int):
        for a, b in ((low, high), (high, low)):
            extremes.append(op.evaluate(np.where(row > 0, b, a)[None])[0])
    assert min(e.min() for e in extremes) == out.kind.lo
    assert max(e.max() for e in extremes) == out.kind.hi


def test_large_sums_stay_exact() -> None:
    """Where float32 would round: 300 products of 127 and 5,000 and one of 1."""
    weight = np.full((1, 301), 127, np.int8)
    weight[0, 0] = 1
    x = np.full((1, 301), 50_000)
    x[0, 0] = 1
    assert Linear(weight).evaluate(x)[0].item() == 300 * 127 * 50_000 + 1


# --- kinds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "result"),
    [
        ((SPIKES, SPIKES), sums(0, 2)),
        ((levels(4), SPIKES), sums(0, 5)),
        ((sums(-1, 3), current(-5, 7)), current(-6, 10)),
        ((SPIKES, REAL), REAL),
    ],
)
def test_kind_of_a_sum(kinds: tuple[Kind, Kind], result: Kind) -> None:
    assert Add().infer(*(Type((2,), kind) for kind in kinds)) == (Type((2,), result),)


@pytest.mark.parametrize(
    ("kinds", "result"),
    [
        ((SPIKES, SPIKES), SPIKES),
        ((levels(3), levels(3)), levels(3)),
        ((SPIKES, levels(3)), sums(0, 3)),
        ((SPIKES, sums(0, 1)), SPIKES),
        ((sums(-2, 0), current(1, 5)), current(-2, 5)),
        ((SPIKES, REAL), REAL),
    ],
)
def test_kind_of_a_concatenation_holds_every_part(kinds: tuple[Kind, Kind], result: Kind) -> None:
    assert Concat(0).infer(*(Type((2,), kind) for kind in kinds)) == (Type((4,), result),)


def test_sums_of_currents_stay_currents() -> None:
    assert ReduceSum((0,)).infer(Type((3, 2), current(-1, 5))) == (Type((2,), current(-3, 15)),)
    assert ReduceSum((0,)).infer(Type((3, 2), SPIKES)) == (Type((2,), sums(0, 3)),)


def test_kinds_refuse_what_they_cannot_be() -> None:
    with pytest.raises(ValueError, match="interval"):
        Kind("real", 0, 1)
    with pytest.raises(ValueError, match="interval"):
        Kind("spikes")
    with pytest.raises(TypeError):
        _ = REAL.bounds
    assert (repr(levels(4)), repr(SPIKES), repr(sums(-1, 2))) == ("levels(4)", "spikes", "sum(-1,2)")


# --- type rules refuse -----------------------------------------------------------------------------------

SQUARE = np.ones((2, 3, 3, 3), np.int8)
ONES = np.ones(2)
PAIR = np.ones(2, np.int64)
LIF = IntegerNeuron(np.array([[5], [9]]).reshape(2, 1), np.array([0]), 2048, 0)

FIXED: dict[str, Any] = {"gain": np.array(1), "bias": np.array(0)}
WRONG: list[tuple[Op, tuple[Type, ...]]] = [
    (Add(), (Type((2,), SPIKES), Type((3,), SPIKES))),
    (Add(), (Type((2,), SPIKES), Type((2, 1), SPIKES))),
    (Add(), (Type((1,), sums(0, 2**30)), Type((1,), sums(0, 2**30)))),
    (Accumulate(0), (Type((2,), SPIKES),)),
    (Accumulate(2), (Type((2,), sums(0, 2**30)),)),
    (Affine(np.ones(3), np.zeros(())), (Type((2,), REAL),)),
    (AvgPool2d((2, 2), (2, 2)), (Type((8, 8), SPIKES),)),
    (Broadcast((2, 3)), (Type((2, 2), SPIKES),)),
    (Broadcast((2, 3)), (Type((3,), SPIKES),)),
    (Affine(np.ones((2, 2)), np.zeros(())), (Type((2,), REAL),)),
    (BatchNorm(ONES, ONES, ONES, ONES, 0.0), (Type((3, 2), REAL),)),
    (BatchNorm(ONES, ONES, ONES, ONES, 0.0), (Type((), REAL),)),
    (Concat(0), (Type((2, 3), SPIKES), Type((2, 4), SPIKES))),
    (Concat(2), (Type((2, 3), SPIKES), Type((2, 3), SPIKES))),
    (Conv1d(np.ones((2, 3, 3))), (Type((2, 8), REAL),)),
    (Conv1d(np.ones((2, 3, 3))), (Type((3, 2), REAL),)),
    (Conv2d(SQUARE), (Type((4, 8, 8), SPIKES),)),
    (Conv2d(SQUARE), (Type((3, 8), SPIKES),)),
    (Conv2d(SQUARE), (Type((3, 8, 2), SPIKES),)),
    (Conv2d(SQUARE, groups=2), (Type((3, 8, 8), SPIKES),)),
    (Conv2d(SQUARE), (Type((3, 8, 8), sums(0, 2**30)),)),
    (Conv2d(SQUARE, np.array([0.5, 0.5])), (Type((3, 8, 8), SPIKES),)),
    (Conv2d(SQUARE, np.array([1])), (Type((3, 8, 8), SPIKES),)),
    (Delay(np.array([0])), (Type((2,), SPIKES),)),
    (Delay(np.array([-1, 1])), (Type((2,), SPIKES),)),
    (Delay(np.array([1.0])), (Type((2,), SPIKES),)),
    (Delay(np.array([1, 1, 1])), (Type((2,), SPIKES),)),
    (Divide(), (Type((2,), REAL), Type((3,), REAL))),
    (Divide(40, 5), (Type((2,), sums(0, 2**20)), Type((2,), SPIKES))),
    (Elementwise("arctan"), (Type((2,), REAL),)),
    (Embedding(np.ones((2, 3))), (Type((2,), levels(2)),)),
    (Embedding(np.ones((2, 3))), (Type((2,), REAL),)),
    (Clip(2, 1), (Type((2,), REAL),)),
    (CountCode(128), (Type((2,), REAL), Type((1,), REAL))),
    (CountCode(3), (Type((1,), REAL), Type((2,), REAL))),
    (CountCode(3, 20), (Type((2,), sums(0, 2**20)), Type((2,), SPIKES))),
    (WindowSoftmax(1), (Type((2,), REAL),)),
    (GatedState(), (Type((2, 1), REAL), Type((2, 3), REAL))),
    (GatedState(-1, 9), (Type((2,), SPIKES),) * 2),
    (GatedState(4, 2**26), (Type((2,), sums(0, 2**26)), Type((2,), SPIKES))),
    (IntegerKeyValue(PAIR, PAIR, np.ones(3, int), np.ones(3, int)), (Type((2,), SPIKES),) * 2),
    (IntegerKeyValue(PAIR, PAIR, np.ones(3, int), np.ones(2, int)), (Type((3,), SPIKES),) * 2),
    (
        IntegerKeyValue(PAIR, PAIR, np.ones(3, int), np.ones(2, int)),
        (Type((2,), SPIKES), Type((2,), sums(0, 2**15))),
    ),
    (WeightedKeyValue(ONES, ONES), (Type((2,), REAL), Type((3,), REAL))),
    (IntegerNorm(4, 0), (Type((2,), SPIKES),)),
    (IntegerNorm(4, 1), (Type((2,), REAL),)),
    (IntegerNorm(16, 1), (Type((2,), sums(0, 2**30)),)),
    (LayerNorm(ONES, None, 0.0), (Type((3,), REAL),)),
    (Lookup(0, np.array([0.5])), (Type((2,), SPIKES),)),
    (Lookup(0, np.array([1])), (Type((2,), REAL),)),
    (ReduceMax(1), (Type((2,), SPIKES),)),
    (Softmax(2), (Type((2, 2), REAL),)),
    (Softmax(1, np.ones(3, bool)), (Type((2, 2), REAL),)),
    (LeakySum(1.0), (Type((2,), REAL),)),
    (LeakySum(4096), (Type((2,), SPIKES),)),
    (LeakySum(2048, np.array([0.5])), (Type((2,), SPIKES),)),
    (LeakySum(2048, np.array([1, 1, 1])), (Type((2,), SPIKES),)),
    (LeakySum(4095, None, 10), (Type((2,), sums(0, 2**10)),)),
    (LinearState(np.ones((2, 3)), ONES), (Type((2,), REAL),)),
    (LinearState(np.ones((2, 2)), ONES), (Type((3,), REAL),)),
    (LinearState(np.ones((2, 2)), np.ones(3)), (Type((2,), REAL),)),
    (LinearState(np.ones((2, 2), int), ONES, limit=1), (Type((2,), SPIKES),)),
    (LinearState(np.ones((2, 2), int), np.array(1)), (Type((2,), SPIKES),)),
    (LinearState(np.full((2, 2), 2**26), np.array(1), limit=2**26), (Type((2,), SPIKES),)),
    (RecurrentNeuron(np.ones((2, 3), int), PAIR[None], PAIR, 9, 0), (Type((2,), SPIKES),)),
    (RecurrentNeuron(np.ones((2, 2)), PAIR[None], PAIR, 9, 0), (Type((2,), SPIKES),)),
    (RecurrentNeuron(np.ones((2, 2), int), np.array([[5], [9]]), PAIR, 9, 0), (Type((2,), SPIKES),)),
    (RecurrentNeuron(-np.ones((2, 2), int), PAIR[None], PAIR, 0, 0), (Type((2,), SPIKES),)),
    (RecurrentNeuron(np.ones(3, int), PAIR[None], PAIR, 9, 0), (Type((2,), SPIKES),)),
    (RecurrentNeuron(np.ones((2, 2), int), PAIR[None], PAIR, 9, 0), (Type((3, 2), SPIKES),)),
    (RecurrentNeuron(np.ones((2, 2), int), PAIR[None], PAIR, 9, 0, wait=0), (Type((2,), SPIKES),)),
    (FeedbackNeuron(np.ones((2, 3)), 0.5, 1.0, 1.0), (Type((2,), REAL),)),
    (FeedbackNeuron(np.ones((2, 2)), 0.5, 1.0, 1.0, ahead=np.ones((2, 3))), (Type((2,), REAL),)),
    (FeedbackNeuron(np.ones((2, 2)), 0.5, 1.0, 0.0), (Type((2,), REAL),)),
    (FeedbackNeuron(np.ones(()), 0.5, 1.0, 1.0, bias=np.ones(3)), (Type((2,), REAL),)),
    (Resonator(9, 9, 5, 0), (Type((2,), SPIKES), Type((3,), SPIKES))),
    (Resonator(9, 4097, 5, 0), (Type((2,), SPIKES),) * 2),
    (Resonator(9, 9, 0, 0), (Type((2,), SPIKES),) * 2),
    (Resonator(9, 9, 5, 31), (Type((2,), SPIKES),) * 2),
    (SigmaDelta(1, np.array([0.5]), 0), (Type((2,), SPIKES),)),
    (SigmaDelta(1, np.zeros(3, int), 0), (Type((2,), SPIKES),)),
    (SigmaDelta(-1, np.zeros(2, int), 0), (Type((2,), SPIKES),)),
    (SigmaDelta(1, np.zeros(2, int), 0, 30), (Type((2,), SPIKES),)),
    (SigmaDelta(1, np.full(2, 2**25), 0), (Type((2,), SPIKES),)),
    (SigmaDelta(1, np.zeros(2, int), 0), (Type((2,), REAL),)),
    (StepAffine(np.ones((2, 3)), np.ones((2, 1))), (Type((2,), REAL),)),
    (StepAffine(np.ones((2, 2)), np.ones((3, 2))), (Type((2,), REAL),)),
    (StepAffine(np.ones((0, 2)), np.ones((0, 2))), (Type((2,), REAL),)),
    (StepRescale(np.ones((2, 3), int), 0, 0, 9, np.zeros(2, int)), (Type((2,), SPIKES),)),
    (StepRescale(np.full(2, 2**15), 0, 0, 9, np.zeros(2, int)), (Type((2,), SPIKES),)),
    (TimeGate(-1, 2), (Type((2,), SPIKES),)),
    (TimeGate(1, 0), (Type((2,), SPIKES),)),
    (Delay(np.array([1, 2]), balances=True), (Type((2,), SPIKES),)),
    (TimeWindow(2, 0, 1, 2), (Type((2,), SPIKES),)),
    (TimeWindow(1, 0), (Type((2,), SPIKES),)),
    (TimeWindow(2, 1), (Type((2,), SPIKES),)),
    (TimeWindow(2, 0, 0), (Type((2,), SPIKES),)),
    (Linear(np.ones((2, 3))), (Type((2,), REAL),)),
    (Linear(np.ones((2, 3))), (Type((), REAL),)),
    (Linear(np.ones((2, 3), int), np.array([0.0, 0.0])), (Type((3,), SPIKES),)),
    (MatMul(), (Type((2, 3), SPIKES), Type((2, 3), SPIKES))),
    (MatMul(), (Type((4, 2, 3), SPIKES), Type((3, 3, 2), SPIKES))),
    (MatMul(), (Type((3,), SPIKES), Type((3, 1), SPIKES))),
    (MatMul(), (Type((1, 3), sums(0, 2**16)), Type((3, 1), sums(0, 2**16)))),
    (MaxPool2d((2, 2), (2, 2)), (Type((8, 8), SPIKES),)),
    (MaxPool2d((3, 3), (2, 2)), (Type((1, 2, 8), SPIKES),)),
    (MaxPool2d((2, 2), (2, 2), (2, 1)), (Type((1, 8, 8), SPIKES),)),
    (Mean((2,)), (Type((2, 3), REAL),)),
    (Mean(()), (Type((2, 3), REAL),)),
    (Mul(), (Type((2,), SPIKES), Type((2, 1), SPIKES))),
    (Mul(), (Type((1,), sums(0, 2**16)), Type((1,), sums(0, 2**16)))),
    (Neuron(0.5, 0.5, threshold=0.0), (Type((2,), REAL),)),
    (EquationNeuron(("v = 0",), ("v = v ** 2",), "v >= 1"), (Type((2,), REAL),)),
    (EquationNeuron(("v = 0",), ("v = v + x",), "v"), (Type((2,), REAL),)),
    (EquationNeuron((), ("v = x * b",), "v >= 1", (), ("b",), np.ones((1, 3))), (Type((2,), REAL),)),
    (EquationNeuron(("v = 9",), ("v = x",), "v >= 1", limit=8, **FIXED), (Type((2,), SPIKES),)),
    (EquationNeuron(("v = 0",), ("v = v * v",), "v >= 1", limit=2**30, **FIXED), (Type((2,), SPIKES),)),
    (EquationNeuron(("v = 0",), ("v = x",), "v >= 1", limit=8), (Type((2,), SPIKES),)),
    (Pad((1,), (1,), 0.5), (Type((2,), SPIKES),)),
    (Pad((1,), (1,)), (Type((2, 2), SPIKES),)),
    (Pad((-1,), (1,)), (Type((2,), SPIKES),)),
    (Rescale(np.array([1, 1]), 1, -5, 5), (Type((3,), SPIKES),)),
    (Rescale(np.array([2**15]), 1, -5, 5), (Type((3,), SPIKES),)),
    (Rescale(np.array([1]), -1, -5, 5), (Type((3,), SPIKES),)),
    (Rescale(np.array([1]), 1, -5, 5, np.array([1, 1])), (Type((3,), SPIKES),)),
    (Rescale(np.array([1]), 1, 5, -5), (Type((3,), SPIKES),)),
    (Rescale(np.array([0.5]), 1, -5, 5), (Type((3,), SPIKES),)),
    (Slice(1, 0, 1), (Type((3,), SPIKES),)),
    (Slice(0, 2, 4), (Type((3,), SPIKES),)),
    (TimeMean(0), (Type((3,), SPIKES),)),
    (Upsample2d((2, 2)), (Type((3, 4), SPIKES),)),
    (ReduceSum((-1,)), (Type((2, 3), SPIKES),)),
    (ReduceSum((0,)), (Type((4,), sums(0, 2**30)),)),
    (Reshape((5,)), (Type((2, 3), SPIKES),)),
    (Split(0, (1, 2)), (Type((4,), SPIKES),)),
    (Split(1, (2, 2)), (Type((4,), SPIKES),)),
    (Split(0, (0, 4)), (Type((4,), SPIKES),)),
    (Transpose((0, 0)), (Type((2, 3), SPIKES),)),
    (Transpose((1, 0)), (Type((2, 3, 4), SPIKES),)),
]


@pytest.mark.parametrize(("op", "types"), WRONG, ids=[f"{op.name}-{types}" for op, types in WRONG])
def test_type_rules_refuse(op: Op, types: tuple[Type, ...]) -> None:
    with pytest.raises(RuleBrokenError):
        op.infer(*types)


def test_every_operation_with_a_rule_is_refused_somewhere() -> None:
    assert {op.name for op, _ in WRONG} | {"integer_neuron"} == set(all_ops())  # see test_integer_neuron


def test_a_name_is_taken_once() -> None:
    with pytest.raises(KeyError, match="two operations"):
        register(type("Other", (Add,), {}))
    assert all_ops()["add"] is Add


def test_operations_with_state_are_stepped() -> None:
    with pytest.raises(TypeError, match="step"):
        LIF.evaluate(np.zeros((1, 1)))


# --- work ------------------------------------------------------------------------------------------------


def _pairs_of_a_convolution(op: Conv1d | Conv2d, x: Array, weight: Array) -> int:
    """Multiply one sample's inputs and weights one by one."""
    pairs = 0
    fan_out = len(weight) // op.groups
    spans = [d * (k - 1) + 1 for d, k in zip(op.dilation, op.kernel, strict=True)]
    positions = [
        range((size + 2 * pad - span) // step + 1)
        for size, pad, span, step in zip(x.shape[1:], op.padding, spans, op.stride, strict=True)
    ]
    for out, i in product(range(len(weight)), range(weight.shape[1])):
        channel = out // fan_out * weight.shape[1] + i
        for at in product(*positions):
            for tap in product(*map(range, op.kernel)):
                place = tuple(
                    a * s + t * d - p
                    for a, s, t, d, p in zip(at, op.stride, tap, op.dilation, op.padding, strict=True)
                )
                inside = all(0 <= c < size for c, size in zip(place, x.shape[1:], strict=True))
                pairs += bool(inside and x[(channel, *place)] != 0 and weight[(out, i, *tap)] != 0)
    return pairs


def _pairs(op: Op, *x: Array) -> int:
    """Operations of one sample, counted one by one."""
    if isinstance(op, (Conv1d, Conv2d)):
        return _pairs_of_a_convolution(op, x[0], op.weight)
    if isinstance(op, Linear):
        rows = x[0].reshape(-1, x[0].shape[-1])
        return sum(
            a != 0 and w != 0
            for row in rows
            for weights in op.weight
            for a, w in zip(row, weights, strict=True)
        )
    if isinstance(op, MatMul):
        a, b = (value.reshape(-1, *value.shape[-2:]) for value in x)
        shape = (len(a), a.shape[1], a.shape[2], b.shape[2])
        return sum(bool(a[n, i, k] and b[n, k, j]) for n, i, k, j in np.ndindex(*shape))
    if isinstance(op, (Add, Mul)):
        a, b = np.broadcast_arrays(*x)
        needs = any if isinstance(op, Add) else all
        return sum(needs(pair) for pair in zip(a.flat, b.flat, strict=True))
    if isinstance(op, Rescale):
        return x[0].size
    if op.work == "host":
        return max(value.size for value in x)
    if isinstance(op, ReduceSum):
        return sum(bool(a) for a in x[0].flat)
    return 0


@pytest.mark.parametrize("name", STATELESS)
def test_operations_are_those_that_one_counts(name: str) -> None:
    @settings(max_examples=15)
    @given(cases(name, integer=name not in FLOAT_ONLY), SEEDS)
    def check(case: Case, seed: int) -> None:
        inputs = _inputs(case, seed)
        counted = [_pairs(case.op, *(x[sample] for x in inputs)) for sample in range(len(inputs[0]))]
        assert case.op.operations(*inputs).tolist() == counted
        assert max(counted) <= case.op.dense_operations(*case.types)

    check()


@pytest.mark.parametrize("name", STATELESS)
def test_dense_operations_are_those_of_inputs_and_weights_without_zeros(name: str) -> None:
    @settings(max_examples=15)
    @given(cases(name, integer=name not in FLOAT_ONLY))
    def check(case: Case) -> None:
        op, ones = case.op, [np.ones(kind.shape) for kind in case.types]
        if isinstance(op, (Conv1d, Conv2d)):
            counted = _pairs_of_a_convolution(op, ones[0], np.ones_like(op.weight))
        elif isinstance(op, Linear):
            counted = _pairs(Linear(np.ones_like(op.weight)), *ones)
        else:
            counted = _pairs(op, *ones)
        assert op.dense_operations(*case.types) == counted

    check()


def test_sums_and_means_over_time() -> None:
    x = np.arange(12).reshape(4, 1, 3)
    for op, wanted in ((Accumulate(4), x.cumsum(0)), (TimeMean(4), x.cumsum(0) / 4)):
        state = {"total": np.zeros((1, 3), np.int64)}
        for step, value in enumerate(x):
            (y,), state = op.step((value,), state)
            np.testing.assert_array_equal(y, wanted[step])
    assert Accumulate(4).infer(Type((3,), sums(-1, 2)))[0].kind == sums(-4, 8)


@pytest.mark.parametrize("op", [Neuron(0.5, 0.5, 1.0), LIF], ids=lambda op: op.name)
def test_every_neuron_is_updated_in_every_step(op: StatefulOp) -> None:
    x = Type((3, 4), SPIKES)
    assert op.dense_operations(x) == 12
    assert op.operations(np.zeros((5, 3, 4), np.int64)).tolist() == [12] * 5
