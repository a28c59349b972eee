"""The passes to the canonical form: each keeps every spike, folds what it may and leaves the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.compiler.frontends.torch.capture import capture
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import REAL, SPIKES, Type
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.batch_norm import BatchNorm
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.mean import Mean
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.passes import Pass, run_passes
from spikeloom.compiler.passes.canonicalise import CANONICALISE, DeclareCanonical
from spikeloom.compiler.passes.fold_affine import FoldAffine
from spikeloom.compiler.passes.lower_batch_norm import LowerBatchNorm
from spikeloom.compiler.passes.mean_to_sum import MeanToSum
from spikeloom.compiler.passes.merge_reshapes import MergeReshapes
from spikeloom.compiler.passes.shift_reset import ShiftReset
from spikeloom.errors import InternalError
from tests.integer_networks import NAMES, capture_of, frames_of
from tests.trained_networks import Convolutional


def _run(graph: Graph, frames: NDArray[np.uint8]) -> tuple[dict[str, Array], Array]:
    """Spikes of every neuron layer, and the output, [steps, samples, ...]."""
    run = Interpreter(graph)
    run.reset(frames.shape[1])
    steps = [run.step(frame) for frame in frames]
    spikes = {node.name: np.stack([values[node.output] for values in steps]) for node in graph.neurons()}
    return spikes, np.stack([values[graph.outputs[0]] for values in steps])


def _same_spikes(before: Graph, after: Graph, frames: NDArray[np.uint8]) -> None:
    spikes, output = _run(before, frames)
    others, other_output = _run(after, frames)
    assert spikes.keys() == others.keys()
    for name, layer in spikes.items():
        assert 0.02 <= layer.mean() <= 0.9, f"{name} proves nothing"
        np.testing.assert_array_equal(layer, others[name], err_msg=name)
    np.testing.assert_allclose(output, other_output, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_each_pass_keeps_every_spike(name: str) -> None:
    graph = capture_of(name).graph
    for one in CANONICALISE:
        after = run_passes(graph, [one])
        _same_spikes(graph, after, frames_of(name, seed=4))
        graph = after
    assert graph.stage is Stage.CANONICAL


@pytest.mark.parametrize(
    "options",
    [{"v_reset": -0.5}, {"v_reset": 0.2, "tau": 3.3}, {"v_reset": None}, {"decay_input": False}],
    ids=str,
)
def test_other_neurons_keep_their_spikes_too(options: dict[str, Any]) -> None:
    graph = capture(Convolutional.made(**options), Convolutional.shape(), SPIKES).graph
    after = run_passes(graph, CANONICALISE)
    _same_spikes(graph, after, Convolutional.frames(seed=0))
    neurons = [node.op for node in after.neurons()]
    assert all(isinstance(op, Neuron) and op.v_reset == 0 for op in neurons)


def test_what_is_left_of_spikformer() -> None:
    """Convolutions with everything folded in, the scale of the attention, and that of the mean."""
    graph = run_passes(capture_of("spikformer").graph, CANONICALISE)
    operations = [node.op.name for node in graph.nodes]
    assert operations.count("affine") == 1 + 1
    assert {"batch_norm", "mean"}.isdisjoint(operations)
    negative = [node for node in capture_of("spikformer").graph.nodes if isinstance(node.op, BatchNorm)]
    assert any((node.op.gain < 0).any() for node in negative if isinstance(node.op, BatchNorm))


# --- single passes on small graphs -----------------------------------------------------------------------

SHAPE = (3, 4)


def _chain(*ops: Op, shape: tuple[int, ...] = SHAPE) -> Graph:
    """The operations one after the other, called op0, op1 ..."""
    builder = GraphBuilder("chain", Stage.CAPTURED)
    value = builder.input("x", Type(shape, SPIKES))
    for index, op in enumerate(ops):
        (value,) = builder.add(f"op{index}", op, value)
    builder.output(value)
    return builder.build()


def _apply(one: Pass, graph: Graph) -> Graph:
    """The graph after a pass, which must compute the same."""
    after = run_passes(graph, [one])
    x = np.random.default_rng(0).integers(0, 2, (5, *graph.types["x"].shape))
    runs = (Interpreter(graph), Interpreter(after))
    for run in runs:
        run.reset(5)
    wanted, got = (run.step(x)[run.graph.outputs[0]] for run in runs)
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
    return after


def _names(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes]


RNG = np.random.default_rng(0)
CONV = Conv1d(RNG.normal(size=(5, 3, 2)), RNG.normal(size=5))
LINEAR = Linear(RNG.normal(size=(6, 4)).astype(np.float32))
NORM = BatchNorm(
    gain=RNG.normal(size=5),
    bias=RNG.normal(size=5),
    mean=RNG.normal(size=5),
    variance=np.array([0.1, 1, 2, 3, 0.01]),
    epsilon=1e-3,
)


def _affine(*shape: int) -> Affine:
    return Affine(RNG.normal(size=shape), RNG.normal(size=shape))


@pytest.mark.parametrize("one", CANONICALISE[:-1], ids=lambda one: one.name)
def test_a_pass_without_work_says_so(one: Pass) -> None:
    graph = _chain(CONV, Neuron(0.5, 0.5, 1.0))
    result = one.apply(graph)
    assert result.graph is graph
    assert not result.changed


def test_a_batch_norm_becomes_an_affine_map_of_its_statistics() -> None:
    after = _apply(LowerBatchNorm(), _chain(CONV, NORM))
    op = after.node("op1").op
    assert isinstance(op, Affine)
    assert op.scale.shape == (5, 1)
    assert op.scale.dtype == np.float64


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_a_mean_becomes_a_sum_and_a_factor(axes: tuple[int, ...]) -> None:
    after = _apply(MeanToSum(), _chain(Mean(axes)))
    assert _names(after) == ["op0.sum", "op0"]
    assert after.types["op0.sum"].kind.is_integer


def test_a_name_that_the_sum_would_take_is_left_to_its_owner() -> None:
    builder = GraphBuilder("g", Stage.CAPTURED)
    x = builder.input("x", Type(SHAPE, SPIKES))
    (first,) = builder.add("m.sum", Mean((1,)), x)
    (second,) = builder.add("m", Mean((1,)), x)
    builder.output(builder.add("total", Add(), first, second)[0])
    _apply(MeanToSum(), builder.build())


@pytest.mark.parametrize("shape", [(), (5, 1), (1, 1)])
def test_an_affine_map_per_channel_is_folded_into_a_convolution(shape: tuple[int, ...]) -> None:
    after = _apply(FoldAffine(), _chain(CONV, _affine(*shape)))
    assert _names(after) == ["op0"]


@pytest.mark.parametrize("shape", [(), (6,), (1, 6)])
def test_an_affine_map_per_output_is_folded_into_a_linear_map(shape: tuple[int, ...]) -> None:
    after = _apply(FoldAffine(), _chain(LINEAR, _affine(*shape)))
    assert _names(after) == ["op0"]
    op = after.node("op0").op
    assert isinstance(op, Linear)
    assert op.bias is not None  # although the layer had none


def test_a_chain_of_affine_maps_is_folded() -> None:
    after = _apply(FoldAffine(), _chain(CONV, _affine(), _affine(5, 1), _affine(1, 1), Neuron(0.5, 0.5, 1.0)))
    assert _names(after) == ["op0", "op4"]


@pytest.mark.parametrize(("op", "shape"), [(CONV, (5, 3)), (CONV, (3,)), (LINEAR, (3, 1)), (LINEAR, (3, 6))])
def test_a_map_that_differs_within_a_channel_is_left_alone(op: Op, shape: tuple[int, ...]) -> None:
    graph = _chain(op, _affine(*shape))
    assert run_passes(graph, [FoldAffine()]) is graph


def test_a_map_of_a_shared_value_is_left_alone() -> None:
    builder = GraphBuilder("g", Stage.CAPTURED)
    x = builder.input("x", Type(SHAPE, SPIKES))
    (shared,) = builder.add("conv", CONV, x)
    (scaled,) = builder.add("scaled", _affine(), shared)
    builder.output(builder.add("both", Add(), shared, scaled)[0])
    graph = builder.build()
    assert run_passes(graph, [FoldAffine()]) is graph


def test_a_map_of_an_output_is_left_alone() -> None:
    builder = GraphBuilder("g", Stage.CAPTURED)
    x = builder.input("x", Type(SHAPE, SPIKES))
    (conv,) = builder.add("conv", CONV, x)
    builder.output(conv)
    builder.output(builder.add("scaled", _affine(), conv)[0])
    graph = builder.build()
    assert run_passes(graph, [FoldAffine()]) is graph


def test_a_map_before_weights_or_after_pooling_is_left_alone() -> None:
    graph = _chain(_affine(3, 1), CONV, Reshape((15,)), _affine(15))
    assert run_passes(graph, [FoldAffine()]) is graph


def test_folding_keeps_the_source_and_the_consumers_of_the_result() -> None:
    builder = GraphBuilder("g", Stage.CAPTURED)
    x = builder.input("x", Type(SHAPE, SPIKES))
    (conv,) = builder.add("conv", CONV, x)
    (norm,) = builder.add("norm", _affine(5, 1), conv)
    (lif,) = builder.add("lif", Neuron(0.5, 0.5, 1.0), norm)
    builder.output(builder.add("both", Add(), norm, lif)[0])
    after = _apply(FoldAffine(), builder.build())
    assert after.node("both").inputs == ("conv", "lif")


def test_the_resting_potential_becomes_zero() -> None:
    after = _apply(ShiftReset(), _chain(Neuron(0.75, 0.25, 1.0, drift=-0.05, v_reset=-0.2)))
    op = after.node("op0").op
    assert isinstance(op, Neuron)
    assert (op.v_reset, op.threshold) == (0.0, 1.2)
    assert op.drift == pytest.approx(-0.05 + (0.75 - 1) * -0.2)


def test_a_chain_of_reshapes_becomes_one() -> None:
    after = _apply(MergeReshapes(), _chain(Reshape((12,)), Reshape((2, 6)), Reshape((6, 2))))
    assert _names(after) == ["op2"]


def test_reshapes_without_effect_disappear() -> None:
    after = _apply(MergeReshapes(), _chain(CONV, Reshape((15,)), Reshape((5, 3)), Neuron(0.5, 0.5, 1.0)))
    assert _names(after) == ["op0", "op3"]
    assert "op1" not in after.types


def test_a_reshape_that_others_read_stays() -> None:
    builder = GraphBuilder("g", Stage.CAPTURED)
    x = builder.input("x", Type(SHAPE, SPIKES))
    (flat,) = builder.add("flat", Reshape((12,)), x)
    (square,) = builder.add("square", Reshape((2, 6)), flat)
    (back,) = builder.add("back", Reshape((12,)), square)
    builder.output(builder.add("both", Add(), flat, back)[0])
    after = _apply(MergeReshapes(), builder.build())
    assert "flat" in _names(after)


def test_an_output_may_be_a_reshape_without_effect() -> None:
    after = _apply(MergeReshapes(), _chain(CONV, Reshape((15,)), Reshape((5, 3))))
    assert after.outputs == ("op0",)


@pytest.mark.parametrize(
    "op", [NORM, Mean((0,)), Neuron(0.5, 0.5, 1.0, v_reset=-0.1)], ids=lambda op: op.name
)
def test_a_graph_that_is_not_canonical_is_not_declared_so(op: Op) -> None:
    with pytest.raises(InternalError, match=f"SL0402 op1: {op.name} is left"):
        run_passes(_chain(CONV, op), [DeclareCanonical()])


def test_a_canonical_graph_is_not_canonicalised_again() -> None:
    graph = run_passes(_chain(CONV), CANONICALISE)
    with pytest.raises(InternalError, match="SL0402 lower-batch-norm"):
        run_passes(graph, CANONICALISE)


def test_real_inputs_are_canonicalised_too() -> None:
    builder = GraphBuilder("g", Stage.CAPTURED)
    x = builder.input("x", Type(SHAPE, REAL))
    builder.output(builder.add("conv", CONV, x)[0])
    assert run_passes(builder.build(), CANONICALISE).stage is Stage.CANONICAL
