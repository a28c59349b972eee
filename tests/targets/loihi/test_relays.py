"""Membranes on the residual path, weights behind weights, and what the host does at the end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.time_mean import TimeMean
from spikeloom.compiler.quantize.activity import measure_activity
from spikeloom.compiler.quantize.quantize import Quantized, quantize
from spikeloom.errors import UnsupportedError
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.targets.loihi import loihi2
from spikeloom.targets.loihi.engine import LoihiEngine
from spikeloom.targets.loihi.program import Program, Rescaling
from spikeloom.targets.loihi.target import STREAM_BITS, Loihi

STEPS, SAMPLES = 5, 8
LIF = Neuron(0.5, 0.5, 0.5)
Body = Callable[[GraphBuilder, str, np.random.Generator], str]


def _weights(rng: np.random.Generator, *shape: int) -> Array:
    weights: Array = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:])) * 2
    return weights


def membranes(
    builder: GraphBuilder, x: str, rng: np.random.Generator, blocks: int = 6, pooled: bool = True
) -> str:
    """Branches added to the same membranes, with weights of very different size."""
    stem = Conv2d(_weights(rng, 5, 3, 3, 3), rng.normal(size=5), padding=(1, 1))
    (path,) = builder.add("stem", stem, x)
    for number in range(blocks):
        (spikes,) = builder.add(f"{number}.lif", LIF, path)
        conv = Conv2d(_weights(rng, 5, 5, 1, 1) * 2.0 ** (number - 3), rng.normal(size=5) / 4)
        (path,) = builder.add(f"{number}.add", Add(), path, builder.add(f"{number}.conv", conv, spikes)[0])
    return builder.add("pool", MaxPool2d((2, 2), (2, 2)), path)[0] if pooled else path


def chain(builder: GraphBuilder, x: str, rng: np.random.Generator) -> str:
    """Three maps with nothing between."""
    (y,) = builder.add("one", Conv2d(_weights(rng, 24, 3, 1, 1), rng.normal(size=24)), x)
    (y,) = builder.add("deep", Conv2d(_weights(rng, 24, 1, 3, 3), None, padding=(1, 1), groups=24), y)
    return builder.add("two", Conv2d(_weights(rng, 6, 24, 1, 1), rng.normal(size=6)), y)[0]


def quantized(body: Body, target: Loihi | None = None) -> tuple[Quantized, Array]:
    """A network of ``body``, neurons and a readout, for a chip (loihi2); and frames."""
    builder, rng = GraphBuilder("g", Stage.CANONICAL), np.random.default_rng(0)
    x = builder.input("x", Type((3, 6, 6), SPIKES))
    (lif,) = builder.add("end", LIF, body(builder, x, rng))
    (flat,) = builder.add("flat", Reshape((builder.types[lif].size,)), lif)
    (head,) = builder.add("head", Linear(_weights(rng, 4, builder.types[lif].size), np.ones(4)), flat)
    builder.output(builder.add("mean", TimeMean(STEPS), head)[0])
    frames = rng.integers(0, 2, (STEPS, SAMPLES, 3, 6, 6)).astype(np.uint8)
    graph = builder.build()
    profile = (target or loihi2()).profile(8)
    return quantize(graph, profile, measure_activity(graph, frames), STEPS), frames


def exact(graph: Graph, frames: Array, target: Loihi | None = None) -> Program:
    """Reference and chip agree, in two calls each; every layer fires."""
    program = (target or loihi2()).program(graph)
    reference = ReferenceEngine(graph)
    engines: dict[str, Engine] = {"reference": reference, "loihi": LoihiEngine(program, graph)}
    result = compare_engines(engines, [("it", frames)])
    assert not result.mismatches, result.first
    reference.reset(frames.shape[1])
    assert all(spikes.mean() > 0.01 for spikes in reference.run(frames).spikes.values())
    return program


@pytest.mark.parametrize("body", [membranes, chain])
def test_values_of_different_units_keep_their_eight_bits(body: Body) -> None:
    result, frames = quantized(body)
    program = exact(result.graph, frames)
    assert {grid.bits for grid in result.grids} == {8}
    assert not any(grid.halvings for grid in result.grids)
    assert any(one.model == "relay" for one in program.processes)


def test_a_path_of_any_length_has_messages_of_one_width_and_short_delays() -> None:
    """Where four relays would meet, their sum goes on in one: nothing waits from the stem to the end."""
    result, _ = quantized(membranes)
    program = loihi2().program(result.graph)
    relays = [one for one in program.processes if one.model == "relay"]
    assert {max(-one.rescaling.low, one.rescaling.high) for one in relays if one.rescaling} == {
        2 ** (STREAM_BITS - 1)
    }
    assert any(one.model == "sum" for one in program.processes)
    assert max(one.delay for one in program.synapses) <= 6  # three branches of two steps
    assert max(len(program.into(one.name)) for one in program.processes) <= 4


def test_a_relay_rounds_to_the_nearest_halves_up_and_clips() -> None:
    relay = Rescaling(np.array([1, 3]), np.array([0, -2]), 2, -4, 4)
    assert relay.of(np.array([[2, -2, 5, 99], [2, -2, 5, -99]])).tolist() == [[1, 0, 1, 4], [0, -3, 2, -4]]


def test_a_relay_says_what_the_operation_says() -> None:
    rng = np.random.default_rng(0)
    factor, offset = rng.integers(1, 2**15, (7, 1)), rng.integers(-9, 9, (7, 1))
    op = Rescale(factor.astype(np.int32), 11, -900, 900, offset)
    x = rng.integers(-(2**15), 2**15, (50, 7, 3))
    relay = Rescaling(factor.repeat(3), offset.repeat(3), 11, -900, 900)
    assert (relay.of(x.reshape(50, -1).T).T.reshape(x.shape) == op.evaluate(x)[0]).all()


def lif(size: int) -> IntegerNeuron:
    return IntegerNeuron(np.full((1, size), 64), np.zeros(size, np.int64), 2048, 7, state_bits=24)


def test_what_follows_a_sum_over_time_is_the_hosts() -> None:
    builder, rng = GraphBuilder("g", Stage.INTEGER), np.random.default_rng(0)
    (spikes,) = builder.add("lif", lif(6), builder.input("x", Type((6,), SPIKES)))
    (total,) = builder.add("sum", Accumulate(STEPS), spikes)
    head = Linear(rng.integers(-99, 99, (3, 6)).astype(np.int8), np.array([5, -5, 0]))
    builder.output(builder.add("head", head, total)[0])
    frames = rng.integers(0, 2, (STEPS, SAMPLES, 6)).astype(np.uint8)
    program = exact(builder.build(), frames)
    assert [one.name for one in program.processes] == ["x", "lif"]
    assert program.sums_over_time


def test_neurons_behind_a_sum_over_time_are_refused() -> None:
    builder = GraphBuilder("g", Stage.INTEGER)
    (total,) = builder.add("sum", Accumulate(STEPS), builder.input("x", Type((6,), SPIKES)))
    builder.output(builder.add("lif", lif(6), total)[0])
    with pytest.raises(UnsupportedError, match=r"SL0602 lif .*integer_neuron cannot be computed"):
        loihi2().lower(builder.build())


def test_a_sum_that_a_program_cannot_hold_is_refused() -> None:
    """600 inputs of up to 2**14 and weights of 127: over 24 bits, though no current of a LIF."""
    builder = GraphBuilder("g", Stage.INTEGER)
    x = builder.input("x", Type((600,), SPIKES))
    wide = Rescale(np.full(600, 2**14, np.int32), 0, -(2**14), 2**14)
    (y,) = builder.add("map", Linear(np.full((1, 600), 127, np.int8)), builder.add("wide", wide, x)[0])
    (y,) = builder.add("narrow", Rescale(np.ones(1, np.int32), 20, -9, 9), y)
    builder.output(builder.add("lif", lif(1), y)[0])
    with pytest.raises(UnsupportedError, match="SL0503 narrow: its sum could leave 24 bits"):
        loihi2().program(builder.build())
