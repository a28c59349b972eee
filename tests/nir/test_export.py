"""Integer graphs as NIR: read back without loss, executed as they say, and refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.compiler.bundle import graph_members
from spikeloom.compiler.frontends.nir.export.custom import PREFIX, register
from spikeloom.compiler.frontends.nir.export.graph import execution, from_nir, obstacles, to_nir
from spikeloom.compiler.frontends.nir.export.partition import partition, read_partition, write_partition
from spikeloom.compiler.frontends.nir.export.rules import SAYINGS
from spikeloom.compiler.frontends.nir.file import NirGraph, NirNode, read_nir, write_nir
from spikeloom.compiler.frontends.nir.lower import lower_nir
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage, Unit
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import REAL, SPIKES, Type
from spikeloom.compiler.graph.op import all_ops
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.errors import InputError, UnsupportedError
from tests.random_networks import random_network

STEPS = 8


def _equal(a: Graph, b: Graph) -> None:
    assert graph_members(a) == graph_members(b)


@st.composite
def _sayable(draw: st.DrawFn, leaks: bool = True) -> tuple[Graph, np.ndarray]:
    """A convolution or a linear map, neurons that fire, and what NIR has between; and frames."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    axes = draw(st.sampled_from([0, 1, 2]))
    shape = (int(rng.integers(1, 4)), *rng.integers(3, 6, axes).tolist())
    frames = (rng.random((STEPS, 2, *shape)) < 0.6).astype(np.int64)
    builder = GraphBuilder(draw(st.sampled_from(["net", "a/b %25"])), Stage.INTEGER, "onnx")
    x = builder.input("x", Type(shape, SPIKES))
    bias = draw(st.sampled_from([None, np.int32(1)]))
    channels = int(rng.integers(1, 4))
    offsets = None if bias is None else rng.integers(-3, 4, channels).astype(np.int32)
    kernel = (3,) * axes
    weight = rng.integers(-7, 12, (channels, shape[0], *kernel)).astype(np.int8)
    if axes == 0:
        y = builder.add("fc", Linear(weight, offsets), x)[0]
    else:
        kind, ones = (Conv1d, (1,)) if axes == 1 else (Conv2d, (1, 1))
        y = builder.add("conv/1", kind(weight, offsets, ones, ones, ones), x)[0]
    soft = draw(st.booleans())
    s = builder.add("lif.1", _neuron(draw, rng, builder.types[y].shape, leaks, soft), y)[0]
    if draw(st.booleans()):
        s = builder.add("loop/1", _recurrent(draw, rng, builder.types[s].shape, leaks, soft), s)[0]
    if draw(st.booleans()):
        s = builder.add("late", Delay(rng.integers(1, 3, (channels, *(1,) * axes))), s)[0]
    if axes == 2 and draw(st.booleans()):
        s = builder.add("pool", MaxPool2d((2, 2), (1, 1)), s)[0]
    if draw(st.booleans()):
        late = builder.add("later", Delay(np.array(1)), s)[0]
        s = builder.add("both", Add(), s, late)[0]
    if axes and draw(st.booleans()):
        s = builder.add("flat", Reshape((int(np.prod(builder.types[s].shape)),)), s)[0]
    last = draw(st.sampled_from(["none", "sum", "leak"]))
    if last == "sum":
        s = builder.add("total", Accumulate(STEPS), s)[0]
    elif last == "leak" and leaks:
        keep = draw(st.integers(0, 4095))
        s = builder.add("leak", LeakySum(keep, None if bias is None else rng.integers(-9, 9, 1), 3), s)[0]
    builder.output(s)
    builder.units[y] = Unit(rng.random(channels), np.zeros(()))
    return builder.build(), frames


def _recurrent(
    draw: st.DrawFn, rng: np.random.Generator, shape: tuple[int, ...], leaks: bool, soft: bool
) -> RecurrentNeuron:
    """Neurons that are driven by spikes, and by their own, of which each reaches the threshold at most."""
    plain = _neuron(draw, rng, shape, leaks, soft)
    theta = np.full_like(plain.theta, 2 << plain.fraction_bits)
    own = {1: shape * 2, 2: (), 3: (shape[0], 1, 1)}[len(shape)]
    reset = np.asarray(theta[0] + 1) if soft else None
    return RecurrentNeuron(
        np.asarray(rng.integers(-3, 5, own)).astype(np.int8),
        theta,
        plain.bias,
        plain.decay,
        plain.fraction_bits,
        plain.current_decay,
        horizon=plain.horizon,
        reset_by=reset,
        wait=draw(st.integers(1, 3)),
    )


def _neuron(
    draw: st.DrawFn, rng: np.random.Generator, shape: tuple[int, ...], leaks: bool, soft: bool
) -> IntegerNeuron:
    fraction = draw(st.integers(0, 7))
    decay = draw(st.integers(1, 4096)) if leaks else 0
    current = draw(st.sampled_from([None, 1, 1000, 4096])) if leaks else None
    own = (1, shape[0], *(1,) * (len(shape) - 1)) if leaks else (1,)
    theta = rng.integers(2 << fraction, 9 << fraction, own)
    bias = rng.integers(-4, 5, draw(st.sampled_from([(), (1,) * len(shape), shape]))) << fraction
    horizon = 0 if decay else STEPS
    if not soft:
        return IntegerNeuron(theta, np.asarray(bias), decay, fraction, current, horizon=horizon)
    reset = np.asarray(theta[0] + 1)
    return IntegerNeuron(theta, np.asarray(bias), decay, fraction, current, "soft", reset, horizon=horizon)


def _spikes(graph: Graph, frames: np.ndarray) -> list[np.ndarray]:
    run = Interpreter(graph)
    run.reset(frames.shape[1])
    return [run.step(frame)[graph.outputs[0]] for frame in frames]


@settings(max_examples=60, deadline=None)
@given(case=_sayable())
def test_what_nir_can_say_comes_back(
    case: tuple[Graph, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Graph to file to graph: names, order, types of numbers, units, every parameter."""
    path = tmp_path_factory.mktemp("nir") / "a.nir"
    write_nir(to_nir(case[0]), path)
    _equal(from_nir(read_nir(path)), case[0])


@settings(max_examples=40, deadline=None)
@given(case=_sayable(leaks=False))
def test_what_is_said_is_what_is_meant(case: tuple[Graph, np.ndarray]) -> None:
    """The NIR nodes alone, executed in float as the file says, without our metadata: the same spikes."""
    graph, frames = case
    nir = to_nir(graph)
    bare = {
        name: NirNode(node.type, node.parameters)
        for name, node in nir.nodes.items()
        if isinstance(node, NirNode)
    }
    told = lower_nir(NirGraph(bare, nir.edges), execution(graph), REAL, steps=STEPS)
    for ours, theirs in zip(_spikes(graph, frames), _spikes(told, frames), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_leaks_differ_by_their_rounding_alone() -> None:
    """Neurons that leak are rounded toward zero at each step, which NIR cannot say: few spikes differ."""
    cells = differing = fired = 0
    rng = np.random.default_rng(5)
    for soft in (False, True):
        theta = np.array([4 << 6])
        hard = IntegerNeuron(theta[None], np.array(9), 1234, 6)
        builder = GraphBuilder("net", Stage.INTEGER)
        x = builder.input("x", Type((40,), SPIKES))
        y = builder.add("fc", Linear(rng.integers(-6, 9, (60, 40)).astype(np.int8)), x)[0]
        neuron = replace(hard, reset="soft", reset_by=theta + 1) if soft else hard
        builder.output(builder.add("lif", neuron, y)[0])
        graph = builder.build()
        frames = (rng.random((50, 4, 40)) < 0.3).astype(np.int64)
        told = lower_nir(to_nir(graph), execution(graph), REAL)
        for ours, theirs in zip(_spikes(graph, frames), _spikes(told, frames), strict=True):
            cells += ours.size
            fired += int(ours.sum())
            differing += int((ours != theirs).sum())
    assert fired > 0.1 * cells
    assert differing < 0.002 * cells


@pytest.mark.parametrize("seed", range(12))
def test_custom_nodes_say_everything(seed: int, tmp_path: Path) -> None:
    graph = random_network(seed).graph
    write_nir(to_nir(graph, custom=True), tmp_path / "a.nir")
    _equal(from_nir(read_nir(tmp_path / "a.nir")), graph)


@pytest.mark.parametrize("seed", range(12))
def test_parts_make_the_whole(seed: int, tmp_path: Path) -> None:
    network = random_network(seed)
    graph, frames = network.graph, network.frames
    parts = write_partition(graph, tmp_path / "parts")
    assert [part.sayable for part in parts] == [
        bool(index % 2) != parts[0].sayable for index in range(len(parts))
    ]
    assert all(not obstacles(part.graph) for part in parts if part.sayable)
    again = read_partition(tmp_path / "parts")
    assert {node.name for node in again.nodes} == {node.name for node in graph.nodes}
    for ours, theirs in zip(_spikes(graph, frames), _spikes(again, frames), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    values = dict.fromkeys(graph.inputs, frames[0].astype(np.int64))
    for part in parts:  # one after the other, as a reader of the folder would run them
        run = Interpreter(part.graph)
        run.reset(frames.shape[1])
        out = run.step(*(values[name] for name in part.graph.inputs))
        values |= {name: out[name] for name in part.graph.outputs}
    np.testing.assert_array_equal(values[graph.outputs[0]], _spikes(graph, frames[:1])[0])


def test_a_part_is_not_broken_without_need() -> None:
    """A network that NIR can say is one part, whatever its length."""
    builder = GraphBuilder("net", Stage.INTEGER)
    x = builder.input("x", Type((4,), SPIKES))
    for index in range(5):
        x = builder.add(f"fc{index}", Linear(np.eye(4, dtype=np.int8)), x)[0]
        x = builder.add(f"lif{index}", IntegerNeuron(np.array([[0]]), np.array(0), 2048, 6), x)[0]
    builder.output(x)
    (part,) = partition(builder.build())
    assert part.sayable


def test_strict_lists_everything_that_nir_lacks() -> None:
    builder = GraphBuilder("net", Stage.INTEGER)
    x = builder.input("x", Type((2, 4), SPIKES))
    y = builder.add("fc", Linear(np.eye(4, dtype=np.int8)), x)[0]
    graded = IntegerNeuron(np.array([[0], [9]]), np.array(0), 4096, 0)
    s = builder.add("graded", graded, y)[0]
    t = builder.add("twice", Add(), s, s)[0]
    builder.output(builder.add("turn", Reshape((4, 2)), t)[0])
    with pytest.raises(UnsupportedError) as caught:
        to_nir(builder.build())
    assert {p.where.split(" ")[0]: p.code for p in caught.value.problems} == dict.fromkeys(
        ["fc", "graded", "twice", "turn"], "SL0212"
    )


def test_a_changed_file_is_refused() -> None:
    builder = GraphBuilder("net", Stage.INTEGER)
    x = builder.input("x", Type((4,), SPIKES))
    builder.output(builder.add("fc", Linear(np.eye(4, dtype=np.int8)), x)[0])
    nir = to_nir(builder.build())
    missing = {name: node for name, node in nir.nodes.items() if name != "fc"}
    for bad in (NirGraph(missing, ()), NirGraph(missing, (), nir.metadata), NirGraph({}, ())):
        with pytest.raises(InputError, match="SL0211"):
            from_nir(bad)


def test_the_package_nir_reads_what_we_write(tmp_path: Path) -> None:
    """With its own type check, and nodes of our own after :func:`register`."""
    nir = pytest.importorskip("nir", reason="the package nir is not installed")
    builder = GraphBuilder("net", Stage.INTEGER)
    x = builder.input("x", Type((2, 6, 6), SPIKES))
    y = builder.add("conv", Conv2d(np.ones((3, 2, 3, 3), np.int8), None, (1, 1), (1, 1), (1, 1)), x)[0]
    s = builder.add("if", IntegerNeuron(np.array([[200]]), np.array(3), 0, 6, horizon=4), y)[0]
    p = builder.add("pool", MaxPool2d((2, 2), (2, 2)), s)[0]
    builder.output(builder.add("flat", Reshape((27,)), p)[0])
    write_nir(to_nir(builder.build()), tmp_path / "a.nir")
    assert set(nir.read(tmp_path / "a.nir").nodes) >= {"conv", "if", "if.one", "if.bias", "pool", "flat"}
    graph = random_network(3).graph
    write_nir(to_nir(graph, custom=True), tmp_path / "b.nir")
    register()
    read = nir.read(tmp_path / "b.nir", type_check=False)
    own = {type(node).__name__ for node in read.nodes.values() if type(node).__name__.startswith(PREFIX)}
    assert own


def test_every_rule_is_of_an_operation() -> None:
    assert set(SAYINGS) <= set(all_ops())
