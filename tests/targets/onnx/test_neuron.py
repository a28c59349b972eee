"""The neuron function against the definition, from states that networks seldom reach."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import Type, levels
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron, Reset
from spikeloom.targets.onnx.neuron_function import Variation
from tests.engines.agreement import engines

SHAPE = (3, 4, 5)
INPUT = Type(SHAPE, levels(255))


def network(op: IntegerNeuron) -> Graph:
    builder = GraphBuilder("neuron", Stage.INTEGER, "onnx")
    builder.output(builder.add("lif", op, builder.input("x", INPUT))[0])
    return builder.build()


def states(rng: np.random.Generator, op: IntegerNeuron, batch: int) -> dict[str, NDArray[np.int64]]:
    """Any state that the bounds allow: its ends, around zero, and random."""
    low, high = op.potential_bounds(INPUT)
    ends = np.array([low, low + 1, -4097, -4096, -2, -1, 0, 1, 2, 4095, high - 1, high]).clip(low, high)
    names = ["v"] if op.current_decay is None else ["u", "v"]
    found = {}
    for name in names:
        values = rng.integers(low, high + 1, (batch, *SHAPE))
        chosen = rng.random(values.shape) < 0.5
        found[f"lif/{name}"] = np.where(chosen, rng.choice(ends, values.shape), values)
    return found


def check(op: IntegerNeuron, seed: int = 0, silent: bool = False) -> None:
    """One step and then two more from random states: spikes and states are those of the definition.

    Some neurons fire and some do not, but where it is ``silent``.
    """
    rng = np.random.default_rng(seed)
    graph, batch = network(op), 5
    start = states(rng, op, batch)
    if op.current_decay is None and op.reset_by is None:
        start["lif/v"] = np.minimum(start["lif/v"], op.theta[0].max())  # more is never carried over
    frames = rng.integers(0, 256, (3, batch, *SHAPE)).astype(np.uint8)
    frames[:, rng.random(frames.shape[1:]) < 0.4] = 0
    results: dict[str, dict[str, Array]] = {}
    for name, engine in engines(graph).items():
        engine.restore(start)
        trace = engine.run(frames)
        results[name] = {"s": trace.spikes["lif"], "output": trace.output, **engine.state()}
    fired = results["reference"]["s"] > 0
    assert bool(fired.any()) is not silent
    assert not fired.all()
    for name, part in product(("step", "sequence"), results["reference"]):
        assert np.array_equal(results[name][part], results["reference"][part]), f"{name}: {part}"


@pytest.mark.parametrize("decay", [0, 1, 819, 1365, 2048, 3000, 4095, 4096])
@pytest.mark.parametrize("current_decay", [None, 0, 1000, 4096])
def test_decays(decay: int, current_decay: int | None) -> None:
    op = IntegerNeuron(
        np.array([[12_000]]), np.array([-300]), decay, 6, current_decay=current_decay, horizon=10
    )
    check(op)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("fraction_bits", [0, 6, 12])
def test_resets_and_levels(soft: bool, count: int, fraction_bits: int) -> None:
    unit = 255 << fraction_bits
    theta = (np.arange(1, count + 1) * 2 - 1)[:, None] * (unit // 4)
    reset_by = np.array([unit // 2]) if soft else None
    reset: Reset = "soft" if soft else "hard"
    check(IntegerNeuron(theta, np.array([-unit // 3]), 1365, fraction_bits, reset=reset, reset_by=reset_by))


@pytest.mark.parametrize("shape", [(1,), (3, 1, 1), (4, 1), (5,), (1, 4, 1), (3, 4, 5)])
def test_parameters_broadcast_as_in_the_graph(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    theta = rng.integers(2000, 9000, (2, *shape))
    theta[1] += 9000
    reset_by = rng.integers(100, 9000, shape)
    bias = rng.integers(-4000, 4000, shape)
    check(IntegerNeuron(theta, bias, 2048, 6, reset="soft", reset_by=reset_by))


@pytest.mark.parametrize(("reset_by", "precision"), [(16_000_000, "float32"), (17_000_000, "float64")])
def test_a_soft_reset_may_land_far_below_what_inputs_reach(reset_by: int, precision: str) -> None:
    theta, bias = np.array([[100]]), np.array([0])
    op = IntegerNeuron(theta, bias, 2048, 0, reset="soft", reset_by=np.array([reset_by]))
    assert Variation.of(op, INPUT).precision == precision
    check(op)


@pytest.mark.parametrize(
    ("decay", "bias", "precision"),
    [
        (2048, -(2**23), "float32"),  # states reach exactly 2**24
        (2048, -(2**23) - 1, "float64"),
        (819, -1024, "float32"),  # 3277 / 4096: 1024 * 4096 / 819 * 3277 is just under 2**24
        (819, -1025, "float64"),
        (1, -500_000, "float64"),  # states near the end of 32 bits
        (4096, -(2**30), "float32"),  # nothing is carried over, nothing can be lost
    ],
)
def test_precision_is_the_least_that_is_exact(decay: int, bias: int, precision: str) -> None:
    op = IntegerNeuron(np.array([[64]]), np.array([bias]), decay, 0)
    assert Variation.of(op, INPUT).precision == precision
    check(op, silent=True)  # a bias so low lets nothing fire: what counts here is the potential


def test_a_current_may_be_large_although_the_potential_is_cleared() -> None:
    """A spike caps what remains of v, never of u, which decides the precision here."""
    op = IntegerNeuron(np.array([[100]]), np.array([0]), 2048, 6, current_decay=819)
    assert Variation.of(op, INPUT).precision == "float64"
    check(op)


def test_a_threshold_beyond_int32_is_never_passed() -> None:
    op = IntegerNeuron(np.array([[2**40]]), np.array([0]), 2048, 6)
    check(op, silent=True)


def test_names_tell_what_a_function_does() -> None:
    theta, bias = np.array([[9], [99]]), np.array([0])
    plain = IntegerNeuron(theta[:1], bias, 2048, 6)
    rich = IntegerNeuron(theta, bias, 819, 6, current_decay=1000, reset="soft", reset_by=np.array([9]))
    assert Variation.of(plain, INPUT).name == "LIF"
    assert Variation.of(rich, INPUT).name == "CubaLIF_soft_levels2_float64"
    function = Variation.of(rich, INPUT).function()
    assert list(function.input) == ["x", "u", "v", "theta1", "theta2", "bias", "reset_by"]
    assert list(function.output) == ["s", "u'", "v'"]
    assert sorted(function.attribute) == ["current_decay", "decay", "fraction_bits"]
