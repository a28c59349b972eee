"""Each emitter at its edges: both ONNX forms give what the operation's own definition gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.op import Op, StatefulOp, all_ops
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.divide import Divide
from spikeloom.compiler.graph.ops.gated_state import GatedState
from spikeloom.compiler.graph.ops.integer_norm import IntegerNorm
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.linear_state import LinearState
from spikeloom.compiler.graph.ops.lookup import Lookup
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.reduce_max import ReduceMax
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.resonator import Resonator
from spikeloom.compiler.graph.ops.sigma_delta import SigmaDelta
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.step_rescale import StepRescale
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.targets.onnx import onnx as target
from spikeloom.targets.onnx.emitters import FLOAT_ONLY, all_emitters, emits
from tests.engines.agreement import disagreements
from tests.random_networks import Grower, random_frames


class Bench:
    """A graph without neurons whose every value can be compared."""

    def __init__(self, shape: tuple[int, ...], high: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        frames = rng.integers(0, high + 1, (3, 2, *shape)).astype(np.uint8)
        frames[0, 0], frames[0, 1] = 0, high
        self.grow = Grower("bench", frames, rng, high)

    def signed(self, scale: int = 1) -> str:
        """The input times plus or minus ``scale``: a current around zero."""
        last = self.grow.frames.shape[-1]
        weight = np.diag(np.resize([scale, -scale], last)).astype(np.int8)
        return self.grow.add("signed", Linear(weight), self.grow.x)[0]

    def given(self, last_first: bool, bias: NDArray[np.int64] | None = None) -> str:
        """The input; behind a convolution of one pixel, where its channels are to lie last in memory."""
        if not last_first:
            return self.grow.x
        channels = self.grow.frames.shape[2]
        conv = Conv2d(self.grow.weights((channels, channels, 1, 1)), bias)
        return self.grow.add("conv", conv, self.grow.x)[0]

    def check(self, output: str) -> Written:
        """Compare the engines with this output; return what the step form is made of."""
        self.grow.builder.output(output)
        graph = self.grow.builder.build()
        assert target().obstacles(graph) == []
        assert disagreements(graph, self.grow.frames, cuts=[1]) == []
        return Written.of(graph)


@dataclass(frozen=True)
class Written:
    """What a model is made of.

    Attributes:
        operators: how often each is used.
        products: the types of the operands of each product, in order, such as ``uint8*int8``.
        sums: the same of each addition.
    """

    operators: Counter[str]
    products: list[str]
    sums: list[str]

    @staticmethod
    def of(graph: Graph) -> Written:
        model = onnx.load_from_string(target().artifacts(graph)["step.onnx"])
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        known = [*model.graph.input, *model.graph.value_info, *model.graph.output]
        types = {value.name: value.type.tensor_type.elem_type for value in known}
        types |= {constant.name: constant.data_type for constant in model.graph.initializer}

        def operands(kind: str, sign: str) -> list[str]:
            return [
                sign.join(onnx.helper.tensor_dtype_to_np_dtype(types[name]).name for name in node.input[:2])
                for node in model.graph.node
                if node.op_type.startswith(kind)
            ]

        counts = Counter(node.op_type for node in model.graph.node)
        return Written(counts, operands("MatMul", "*"), operands("Add", "+"))


BYTES = "uint8*int8"


def test_every_operation_of_an_integer_graph_has_an_emitter() -> None:
    assert set(all_emitters()) == set(all_ops()) - FLOAT_ONLY
    assert set(all_ops()) >= FLOAT_ONLY


def test_a_second_emitter_is_refused() -> None:
    with pytest.raises(KeyError, match="two emitters for 'add'"):
        emits(Add)(lambda *_: ())


WIDE = 127  # the largest weight of 8 bits: with activations over 128, pairs of products leave 16 bits


@pytest.mark.parametrize(
    ("high", "weight", "splits"),
    [
        (1, WIDE, 0),
        (128, WIDE, 0),
        (129, WIDE, 0),
        (130, WIDE, 2),
        (255, WIDE, 2),
        (255, 64, 0),
        (255, 65, 2),
    ],
)
def test_large_activations_are_split_only_where_pairs_could_saturate(
    high: int, weight: int, splits: int
) -> None:
    bench = Bench((24,), high)
    weights = np.full((5, 24), weight, np.int8)
    weights[1] *= -1
    found = bench.check(*bench.grow.add("fc", Linear(weights, np.arange(5)), bench.grow.x))
    assert (found.operators["BitwiseAnd"], found.products) == (splits, [BYTES])


@pytest.mark.parametrize(("high", "product"), [(3, BYTES), (127, BYTES), (128, "float32*float32")])
def test_signed_activations_get_a_zero_point_while_they_fit_a_byte(high: int, product: str) -> None:
    bench = Bench((6, 12), high)
    x = bench.signed()
    weights = bench.grow.weights((7, 12))
    assert bench.check(*bench.grow.add("fc", Linear(weights, None), x)).products == [BYTES, product]


@pytest.mark.parametrize(
    ("weight", "product"),
    [
        ([1, 0, 0, 0], "float32*float32"),  # 255 * 4 * 127 * 127 is under 2**24
        ([0, 2, 0, 0], "int32*int32"),  # twice that is over it
        ([WIDE, -WIDE, 0, 0], "int64*int64"),  # on the way the sum may pass 2**31
    ],
)
def test_wide_activations_take_the_narrowest_exact_type(weight: list[int], product: str) -> None:
    bench = Bench((4,), 255)
    (x,) = bench.grow.add("wide", Linear(np.full((4, 4), WIDE, np.int8)), bench.grow.x)
    (x,) = bench.grow.add("wider", Linear(np.eye(4, dtype=np.int8) * WIDE), x)
    found = bench.check(*bench.grow.add("fc", Linear(np.array([weight], np.int8)), x))
    assert found.products[2:] == [product]


def test_weights_over_eight_bits_are_exact_too() -> None:
    bench = Bench((6,), 255)
    weights = bench.grow.rng.integers(-2000, 2000, (3, 6)).astype(np.int16)
    found = bench.check(*bench.grow.add("fc", Linear(weights), bench.grow.x))
    assert found.products == ["float32*float32"]


CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "padded": {"padding": (1, 2)},
    "strided": {"stride": (2, 3), "padding": (1, 1)},
    "dilated": {"dilation": (2, 3), "padding": (2, 2)},
    "grouped": {"groups": 2, "padding": (1, 1)},
    "depthwise": {"groups": 4, "stride": (1, 2)},
    "everything": {"groups": 2, "stride": (2, 1), "padding": (2, 0), "dilation": (1, 2)},
}


@pytest.mark.parametrize("geometry", CONVOLUTIONS)
@pytest.mark.parametrize("high", [1, 255])
@pytest.mark.parametrize("signed", [False, True])
def test_conv2d(geometry: str, high: int, signed: bool) -> None:
    bench = Bench((4, 9, 8), high)
    x = bench.signed() if signed else bench.grow.x
    options = CONVOLUTIONS[geometry]
    weight = bench.grow.weights((8, 4 // options.get("groups", 1), 3, 3))
    conv = Conv2d(weight, np.arange(8) * 100 - 300, **options)
    bench.check(*bench.grow.add("conv", conv, x))


def test_conv2d_with_signed_bytes_that_must_be_split_keeps_its_padding_at_zero() -> None:
    """Zero point, split and padding at once: -100..100 is held as 0..200."""
    bench = Bench((2, 5, 6), 100)
    conv = Conv2d(bench.grow.weights((3, 2, 3, 3)), None, (1, 1), (1, 1), (1, 1))
    found = bench.check(*bench.grow.add("conv", conv, bench.signed()))
    assert (found.operators["BitwiseAnd"], found.products) == (2, [BYTES, BYTES])


@pytest.mark.parametrize("kernel", [1, 2, 5])
@pytest.mark.parametrize("options", [{}, {"stride": (2,), "padding": (1,), "groups": 3}])
def test_conv1d(kernel: int, options: dict[str, object]) -> None:
    if kernel == 1:
        options = {**options, "padding": (0,)}
    bench = Bench((6, 15), 3)
    weight = bench.grow.weights((9, 6 // int(str(options.get("groups", 1))), kernel))
    bench.check(*bench.grow.add("conv", Conv1d(weight, None, **options), bench.grow.x))  # type: ignore[arg-type]


def test_a_kernel_of_one_multiplies_the_input_itself() -> None:
    bench = Bench((6, 15), 1)
    found = bench.check(*bench.grow.add("conv", Conv1d(bench.grow.weights((9, 6, 1))), bench.grow.x))
    assert found.operators.keys().isdisjoint({"Slice", "Pad", "Concat"})


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((2, 2), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)), ((2, 3), (1, 2), (1, 0)), ((1, 1), (2, 1), (0, 0))],
)
def test_max_pool2d(
    signed: bool, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    """On currents the padding must not win over negative numbers."""
    bench = Bench((3, 7, 6), 9)
    x = bench.signed(scale=-100) if signed else bench.grow.x
    bench.check(*bench.grow.add("pool", MaxPool2d(kernel, stride, padding), x))


Operand = Callable[[Bench], str]


def _frames(bench: Bench) -> str:
    return bench.grow.x


def _times(weight: int) -> Operand:
    """The frames times plus and minus a weight."""

    def scaled(bench: Bench) -> str:
        last = bench.grow.frames.shape[-1]
        matrix = np.diag(np.resize([weight, -weight], last)).astype(np.int8)
        return bench.grow.add(bench.grow.builder.unique("scaled"), Linear(matrix), bench.grow.x)[0]

    return scaled


def _sums(bench: Bench) -> str:
    """Sums of six: 0..6 * high."""
    return bench.grow.add("sums", Linear(np.ones((6, 6), np.int8)), bench.grow.x)[0]


@pytest.mark.parametrize(
    ("high", "left", "right", "product"),
    [
        (1, _frames, _frames, BYTES),
        (127, _frames, _frames, BYTES),
        (200, _frames, _frames, "float32*float32"),  # neither fits int8
        (1, _frames, _times(5), BYTES),
        (1, _times(5), _frames, BYTES),  # the transposed product
        (1, _times(5), _times(7), "float32*float32"),  # neither fits uint8
        (20, _sums, _frames, BYTES),  # 0..120 times 0..20
        (40, _sums, _frames, BYTES),  # 0..240 times 0..40
        (40, _frames, _sums, BYTES),  # the transposed product
        (50, _sums, _frames, "float32*float32"),  # 0..300 fits no byte
        (255, _times(127), _times(30), "int32*int32"),  # 6 * 32385 * 7650 is over 2**24
    ],
)
def test_matmul(high: int, left: Operand, right: Operand, product: str) -> None:
    bench = Bench((2, 6, 6), high)
    found = bench.check(*bench.grow.add("product", MatMul(), left(bench), right(bench)))
    assert found.products[-1] == product


def test_matmul_of_bytes_whose_pairs_could_saturate_takes_float32() -> None:
    """0..240 times 0..80: two products of 19200 are over 16 bits."""
    bench = Bench((1, 3, 3), 80)
    (sums,) = bench.grow.add("sums", Linear(np.ones((3, 3), np.int8)), bench.grow.x)
    found = bench.check(*bench.grow.add("product", MatMul(), sums, bench.grow.x))
    assert found.products[-1] == "float32*float32"


@pytest.mark.parametrize("high", [127, 128, 255])
def test_add_stays_in_bytes_only_while_the_sum_fits(high: int) -> None:
    bench = Bench((3, 4), high)
    found = bench.check(*bench.grow.add("sum", Add(), bench.grow.x, bench.grow.x))
    assert found.sums == ["uint8+uint8" if high <= 127 else "int32+int32"]


def test_add_of_currents_and_of_values_in_different_orders() -> None:
    bench = Bench((6, 6), 1)
    x = bench.signed()
    turned = bench.grow.add("turn", Transpose((1, 0)), bench.grow.x)[0]
    bench.check(*bench.grow.add("sum", Add(), turned, x))


STRUCTURE: dict[str, tuple[Op, ...]] = {
    "reshape joins": (Reshape((12, 5)),),
    "reshape cuts": (Reshape((3, 2, 2, 5)),),
    "reshape mixes": (Reshape((2, 30)), Reshape((5, 12))),
    "transpose then reshape": (Transpose((2, 0, 1)), Reshape((15, 4))),
    "reshape of what must come together": (Transpose((1, 0, 2)), Reshape((4, 15)), Transpose((1, 0))),
    "sum of one axis": (Transpose((2, 1, 0)), ReduceSum((1,))),
    "sum of several axes": (Transpose((1, 2, 0)), ReduceSum((0, 2))),
    "sum of all": (Reshape((1, 60)), ReduceSum((1,))),
    "single elements": (Reshape((3, 1, 20)), Transpose((2, 1, 0)), Reshape((1, 60, 1))),
}


@pytest.mark.parametrize("name", STRUCTURE)
@pytest.mark.parametrize("last_first", [False, True])
def test_structure(name: str, last_first: bool) -> None:
    """With and without channels that already lie last in memory."""
    bench = Bench((3, 4, 5), 200)
    x = bench.given(last_first)
    for op in STRUCTURE[name]:
        (x,) = bench.grow.add("op", op, x)
    bench.check(x)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_split_and_concat_in_any_order_of_memory(axis: int) -> None:
    bench = Bench((4, 4, 4), 3)
    (conv,) = bench.grow.add("conv", Conv2d(bench.grow.weights((4, 4, 1, 1))), bench.grow.x)
    first, second = bench.grow.add("cut", Split(axis, (1, 3)), conv)
    plain = bench.grow.add("cut", Split(axis, (3, 1)), bench.grow.x)
    bench.check(*bench.grow.add("join", Concat(axis), second, *plain, first))


TIMED: dict[str, StatefulOp] = {
    "one delay": Delay(np.array(2)),
    "delays of channels": Delay(np.array([0, 1, 3, 2]).reshape(4, 1, 1)),
    "delays of columns": Delay(np.array([2, 0, 1, 0, 5])),
    "window of channels": TimeWindow(3, 0),
    "window of columns": TimeWindow(2, 2, 2),
    "gate": TimeGate(1, 1),
    "gate that never closes here": TimeGate(0, 9),
    "leaky sum": LeakySum(3277, np.array([[[5]], [[-7]], [[0]], [[1]]]), 6),
    "leaky sum that forgets": LeakySum(0),
    "memory": LinearState(np.arange(25).reshape(5, 5) - 12, np.arange(5) - 2, np.arange(5), 4, 300),
    "memory without a shift": LinearState(np.eye(5, dtype=np.int64)[::-1], np.array(7), limit=90),
    "changes": SigmaDelta(30, np.array(-400), 1, 2, integrates=False, rectifies=False),
    "changes of a sum": SigmaDelta(90, np.array([[[5]], [[-700]], [[0]], [[99]]]), 3, limit=200),
    "steps": StepRescale(
        np.array([30000, -20000]).reshape(2, 1, 1), 13, -300, 250, np.arange(10).reshape(2, 5) - 5
    ),
    "steps of channels": StepRescale(
        np.arange(-8000, 8000, 4000).reshape(1, 4, 1, 1), 9, -99, 99, np.array([3])
    ),
}


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize("last_first", [False, True])
def test_operations_along_time(name: str, last_first: bool) -> None:
    """In two chunks, with and without channels that already lie last in memory; signed and not."""
    bench = Bench((4, 3, 5), 200)
    x = bench.given(last_first, np.arange(4))
    bench.check(bench.grow.advance("timed", TIMED[name], x))


@pytest.mark.parametrize("current_decay", [None, 1500])
def test_spikes_that_come_back(current_decay: int | None) -> None:
    bench = Bench((5,), 3)
    weight = np.arange(25).reshape(5, 5) % 7 - 3
    loop = RecurrentNeuron(weight, np.array([[2, 3, 4, 3, 2]]), np.arange(5) - 2, 1000, 1, current_decay)
    x = bench.grow.advance("loop", loop, bench.grow.x)
    assert 0 < bench.grow.value(x).mean() < 1
    bench.check(x)


@pytest.mark.parametrize("by_phase", [False, True])
def test_resonators(by_phase: bool) -> None:
    bench = Bench((4, 3, 5), 9)
    (x,) = bench.grow.add("conv", Conv2d(bench.grow.weights((4, 4, 1, 1)), np.arange(4)), bench.grow.x)
    op = Resonator(-1500, 3600, 100, 1, by_phase)
    y = bench.grow.advance("rings", op, x, bench.grow.x)
    assert 0 < bench.grow.value(y).mean() < 1
    bench.check(y)


def test_sums_that_leave_24_bits_wrap() -> None:
    bench = Bench((4, 3, 5), 200)
    weight = np.arange(-16000, 16000, 2000, dtype=np.int16).reshape(4, 4, 1, 1)
    (x,) = bench.grow.add("conv", Conv2d(weight), bench.grow.x)
    assert np.abs(bench.grow.value(x)).max() >= 2**22
    (x,) = bench.grow.add("more", Rescale(np.full((1, 1, 1), 7), 0, -(2**30), 2**30), x)
    assert np.abs(bench.grow.value(x)).max() >= 2**23
    bench.check(bench.grow.advance("changes", SigmaDelta(90, np.array(5), 3), x))


def test_operations_along_time_on_values_of_one_axis() -> None:
    bench = Bench((5,), 3)
    x = bench.grow.advance("late", Delay(np.array([1, 0, 2, 0, 0])), bench.grow.x)
    x = bench.grow.advance("window", TimeWindow(2, 0), x)
    x = bench.grow.advance(
        "memory", LinearState(np.eye(10, dtype=np.int64), np.array(2), shift=1, limit=9), x
    )
    bench.check(bench.grow.advance("tuned", StepRescale(np.array([[3]]), 1, 0, 9, np.array([[1]])), x))


def test_frames_of_random_density_reach_their_largest_number() -> None:
    frames: NDArray[np.uint8] = random_frames(np.random.default_rng(0), (50,), 4, 3, 200)
    assert frames.min() == 0
    assert 190 < frames.max() <= 200


@pytest.mark.parametrize("last_first", [False, True])
def test_a_memory_with_gates(last_first: bool) -> None:
    """Gates of one order in memory and values of another; a state that is clipped on both sides."""
    bench = Bench((4, 3, 5), 200)
    x = bench.given(last_first, np.arange(4))
    (gates,) = bench.grow.add("gates", Lookup(-20, np.arange(40) * 9 - 60), bench.grow.x)
    bench.check(bench.grow.advance("kept", GatedState(8, 250), gates, x))


HOST: dict[str, Op] = {
    "centred norm": IntegerNorm(9, 3),
    "root norm": IntegerNorm(5, 1, centred=False),
    "table": Lookup(-200, np.arange(400)[::-1] - 150),
    "table shorter than the range": Lookup(3, np.array([7, -2, 9])),
    "largest of a row": ReduceMax(2),
    "largest of channels": ReduceMax(0),
}


@pytest.mark.parametrize("name", HOST)
@pytest.mark.parametrize("last_first", [False, True])
def test_what_no_spike_drives(name: str, last_first: bool) -> None:
    """Of values that lie in memory in either order, and of both signs; then a quotient by one of them."""
    bench = Bench((4, 3, 5), 200)
    x = bench.given(last_first, np.arange(4))
    (y,) = bench.grow.add("host", HOST[name], x)
    (largest,) = bench.grow.add("largest", ReduceMax(1), bench.grow.x)
    if bench.grow.shape(y) != (4, 3, 5):
        bench.check(y)
    else:
        bench.check(*bench.grow.add("share", Divide(6, 3000), y, largest))
