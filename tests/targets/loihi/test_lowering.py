"""Lowered networks against the graphs they come from: executed, counted, looked at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.synapses import expand
from spikeloom.errors import UnsupportedError
from spikeloom.targets.loihi import loihi2
from spikeloom.targets.loihi.lowering.rule import EXISTING, PROGRAM

Values = dict[str, np.ndarray]


def received(network: Network, graph: Graph, sent: Values, population: str, port: int) -> np.ndarray:
    """What arrives at a port, [batch, neurons]: every synapse of every projection, one by one."""
    target = network.population(population)
    batch = len(next(iter(sent.values())))
    largest = target.combine == "max"
    total = np.full((batch, target.size), -(2**40) if largest else 0)
    for number in network.into(population):
        projection = network.projections[number]
        if projection.port != port:
            continue
        kernel = network.kernel(projection.kernel)
        node, _, field = kernel.tensor.rpartition("/")
        weight = getattr(graph.node(node).op, field) if kernel.tensor else np.ones(kernel.shape, int)
        found = expand(projection, Box.whole(projection.target_sizes))
        messages = sent[projection.source].reshape(batch, -1)[:, found.source] * weight.ravel()[found.weight]
        for sample in range(batch):
            (np.maximum if largest else np.add).at(total[sample], found.target, messages[sample])
    return total.reshape(batch, *target.shape)


def execute(network: Network, graph: Graph, values: Values) -> Values:
    """What every population sends in a step in which the neurons fire as in the graph.

    Everything but the neurons is computed from what arrives; what arrives at the neurons is
    compared with the graph.
    """
    sent: Values = {}
    for population in network.populations:
        name = population.name
        if population.role == "input":
            sent[name] = values[name]
            continue
        arrived = received(network, graph, sent, name, 0)
        if population.role == "product":
            sent[name] = arrived * received(network, graph, sent, name, 1)
        elif population.role == "neuron" and isinstance(graph.producers[name].op, IntegerNeuron):
            (x,) = graph.producers[name].inputs
            assert (arrived == values[x]).all(), name
            sent[name] = values[name]
        else:
            sent[name] = arrived
    return sent


def check_execution(graph: Graph, steps: int = 3, rate: float = 0.3) -> Network:
    """Run the graph, and compare every current and every output with the lowered network's."""
    network = loihi2().lower(graph)
    interpreter = Interpreter(graph)
    interpreter.reset(2)
    random = np.random.default_rng(0)
    fired = 0
    for _ in range(steps):
        (x,) = graph.inputs
        frames = (random.random((2, *graph.types[x].shape)) < rate).astype(np.int64)
        values = interpreter.step(frames)
        sent = execute(network, graph, values)
        for population, value in zip(network.outputs, graph.outputs, strict=True):
            bias = getattr(graph.producers[value].op, "bias", None)
            constant = 0 if bias is None or population != value or value in fired_by(graph) else bias
            assert (sent[population] + constant == values[value]).all(), value
        fired += sum(int(values[name].sum()) for name in fired_by(graph))
    assert fired, "a network in which nothing fires proves nothing"
    return network


def fired_by(graph: Graph) -> list[str]:
    return [node.name for node in graph.neurons()]


def test_a_whole_spikformer(tiny_graph: Graph) -> None:
    network = check_execution(tiny_graph)
    roles = {role: [p for p in network.populations if p.role == role] for role in ("product", "accumulator")}
    assert [p.shape for p in roles["product"]] == [(4, 16, 9, 16), (4, 16, 16, 9)]
    assert "block0.kv" in {p.name for p in roles["accumulator"]}
    assert network.outputs == ("head",)
    assert {p.name for p in network.populations} >= set(fired_by(tiny_graph))


def test_synapses_are_those_of_the_weights(tiny_graph: Graph) -> None:
    """Operations of a step in which every input fires and no weight is zero, counted by the graph's ops."""
    network = loihi2().lower(tiny_graph)
    counted: dict[str, int] = {}
    for number, projection in enumerate(network.projections):
        tensor = network.kernel(projection.kernel).tensor
        if tensor:
            layer = tensor.rpartition("/")[0]
            counted[layer] = counted.get(layer, 0) + network.synapses(number)
    for node in tiny_graph.nodes:
        if isinstance(node.op, Convolution):
            dense = node.op.dense_operations(*tiny_graph.input_types(node))
            sources = counted[node.name] / dense
            assert sources == int(sources), "one projection for each addend of a residual sum"
            added = {"block0.qkv.conv": 2, "block0.fc1.conv": 3}
            assert sources == added.get(node.name, 1)
    tokens, addends = 9, 4
    assert counted["head"] == tokens * addends * 64 * 10


def test_tags_say_what_needs_a_program(tiny_graph: Graph) -> None:
    network = loihi2().lower(tiny_graph)
    tags = {population.name: population.tag for population in network.placed}
    assert tags["block0.qkv.lif"] == tags["block0.attn"] == tags["head"] == EXISTING
    assert tags["block0.kv.products"] == EXISTING  # of two spikes: an AND
    assert tags["stage0.conv"] == tags["stage0.lif"] == tags["block0.qkv_product.products"] == PROGRAM
    shares = network.shares()
    assert sum(row["neurons"] for row in shares.values()) == sum(p.size for p in network.placed)
    synapses = [network.synapses(number) for number in range(len(network.projections))]
    assert sum(row["synapses"] for row in shares.values()) == sum(synapses)


def build(shape: tuple[int, ...], add: Callable[[GraphBuilder, str], str]) -> Graph:
    builder = GraphBuilder("small", Stage.INTEGER)
    builder.output(add(builder, builder.input("x", Type(shape, SPIKES))))
    return builder.build()


def lif(shape: tuple[int, ...], **changes: object) -> IntegerNeuron:
    settings = {
        "theta": np.full((1, *(1,) * len(shape)), 64),
        "bias": np.zeros((1,) * len(shape), int),
        "decay": 2048,
    }
    return IntegerNeuron(**(settings | {"fraction_bits": 7, "state_bits": 48} | changes))  # type: ignore[arg-type]


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(-5, 9, shape).astype(np.int8)


def test_pooling_spikes_is_an_or_that_the_chip_has() -> None:
    def add(builder: GraphBuilder, x: str) -> str:
        (y,) = builder.add("pool", MaxPool2d((2, 2), (2, 2)), x)
        (y,) = builder.add("conv", Conv2d(weight(3, 2, 3, 3), None, padding=(1, 1)), y)
        return builder.add("lif", lif((3, 3, 3)), y)[0]

    network = check_execution(build((2, 6, 6), add))
    assert [(p.name, p.role, p.tag) for p in network.placed] == [
        ("pool", "neuron", EXISTING),
        ("lif", "neuron", EXISTING),
    ]


def test_a_pool_of_currents_that_is_added_to_something_is_sent() -> None:
    def add(builder: GraphBuilder, x: str) -> str:
        (a,) = builder.add("a", Conv2d(weight(3, 2, 3, 3), None, padding=(1, 1)), x)
        (a,) = builder.add("pool", MaxPool2d((2, 2), (2, 2)), a)
        (b,) = builder.add("b", Conv2d(weight(3, 2, 2, 2), None, (2, 2)), x)
        (y,) = builder.add("sum", Add(), a, b)
        return builder.add("lif", lif((3, 3, 3)), y)[0]

    network = check_execution(build((2, 6, 6), add))
    assert [(p.name, p.role, p.combine) for p in network.placed] == [
        ("a", "accumulator", "sum"),
        ("pool", "accumulator", "max"),
        ("lif", "neuron", "sum"),
    ]


def test_weighted_maps_in_a_row_have_an_accumulator_between() -> None:
    def add(builder: GraphBuilder, x: str) -> str:
        (y,) = builder.add("a", Conv2d(weight(4, 2, 3, 3)), x)
        (y,) = builder.add("flat", Reshape((4 * 4 * 4,)), y)
        (y,) = builder.add("b", Linear(weight(5, 64), np.arange(5)), y)
        return builder.add("lif", lif((5,)), y)[0]

    graph = build((2, 6, 6), add)
    network = loihi2().lower(graph)
    assert [(p.name, p.role) for p in network.placed] == [("flat", "accumulator"), ("lif", "neuron")]
    assert [p.kind for p in network.projections] == ["conv", "dense"]


def test_tokens_first_attention_with_rows_of_scores() -> None:
    """The other association, on [tokens, channels], as in Spikformer's own repository."""

    def add(builder: GraphBuilder, x: str) -> str:
        def head(name: str) -> str:
            (y,) = builder.add(f"{name}.linear", Linear(weight(6, 8)), x)
            (y,) = builder.add(f"{name}.lif", lif((5, 6)), y)
            (y,) = builder.add(f"{name}.heads", Reshape((5, 2, 3)), y)
            return builder.add(f"{name}.order", Transpose((1, 0, 2)), y)[0]

        q, k, v = head("q"), head("k"), head("v")
        (k,) = builder.add("kT", Transpose((0, 2, 1)), k)
        (y,) = builder.add("scores", MatMul(), q, k)
        (y,) = builder.add("attend", MatMul(), y, v)
        (y,) = builder.add("back", Transpose((1, 0, 2)), y)
        (y,) = builder.add("merge", Reshape((5, 6)), y)
        (y,) = builder.add("attn", lif((5, 6)), y)
        return builder.add("proj", Linear(weight(4, 6), np.arange(4)), y)[0]

    network = check_execution(build((5, 8), add))
    assert [p.shape for p in network.placed if p.role == "product"] == [(2, 5, 3, 5), (2, 5, 5, 3)]
    assert [p.shape for p in network.placed if p.role == "accumulator"] == [(2, 5, 5)]
    assert network.population("proj").role == "readout"


def test_products_of_sums_meet_at_the_port() -> None:
    def add(builder: GraphBuilder, x: str) -> str:
        a, b, c = builder.add("split", Split(0, (2, 2, 2)), x)
        (s,) = builder.add("sum", Add(), a, b)
        (y,) = builder.add("product", MatMul(), s, c)
        (y,) = builder.add("scores", ReduceSum((1,)), y)
        return builder.add("lif", lif((2, 4)), y)[0]

    network = check_execution(build((6, 4, 4), add), rate=0.6)
    assert [p.role for p in network.placed] == ["product", "neuron"]
    assert [p.port for p in network.projections] == [0, 0, 1, 0]


def test_a_product_that_is_weighted_at_once_is_summed_first() -> None:
    def add(builder: GraphBuilder, x: str) -> str:
        a, b = builder.add("split", Split(0, (1, 1)), x)
        (y,) = builder.add("product", MatMul(), a, b)
        (y,) = builder.add("linear", Linear(weight(3, 4)), y)
        return builder.add("lif", lif((1, 4, 3)), y)[0]

    network = check_execution(build((2, 4, 4), add), rate=0.6)
    assert [p.role for p in network.placed] == ["product", "accumulator", "neuron"]


def test_graded_and_soft_neurons_need_a_program() -> None:
    def add(builder: GraphBuilder, x: str) -> str:
        (y,) = builder.add("soft", lif((4,), reset="soft", reset_by=np.array([64])), x)
        (y,) = builder.add("graded", lif((4,), theta=np.array([[64], [128]])), y)
        return builder.add("plain", lif((4,)), y)[0]

    network = check_execution(build((4,), add), rate=0.8)
    assert [p.tag for p in network.placed] == [PROGRAM, PROGRAM, EXISTING]


def test_groups_are_neurons_with_the_same_threshold() -> None:
    theta = 64 * np.array([[1, 2, 1, 3]]).reshape(1, 4, 1)

    def add(builder: GraphBuilder, x: str) -> str:
        return builder.add("lif", lif((4, 5), theta=theta), x)[0]

    population = loihi2().lower(build((4, 5), add)).population("lif")
    assert len(population.groups_in(Box.whole((4, 5)))) == 3
    assert population.groups_in(Box(((0, 1), (0, 5)))) == population.groups_in(Box(((2, 3), (1, 2))))


def test_an_operation_without_a_rule_is_named() -> None:
    def add(builder: GraphBuilder, x: str) -> str:
        (y,) = builder.add("early", LeakySum(0, None, 0), x)
        (y,) = builder.add("late", LeakySum(0, None, 0), y)
        return builder.add("lif", lif((4,), state_bits=24), y)[0]

    graph = build((4,), add)
    problems = loihi2().obstacles(graph)
    assert [(problem.code, problem.where.split()[0]) for problem in problems] == [
        ("SL0602", "early"),
        ("SL0602", "late"),
    ]
    with pytest.raises(UnsupportedError) as caught:
        loihi2().lower(graph)
    assert list(caught.value.problems) == problems


def test_a_reshape_across_axes_is_refused_by_name() -> None:
    def add(builder: GraphBuilder, x: str) -> str:
        (y,) = builder.add("odd", Reshape((6, 4)), x)
        return builder.add("lif", lif((6, 4)), y)[0]

    with pytest.raises(UnsupportedError, match=r"SL0602 odd.*mixes axes"):
        loihi2().lower(build((4, 6), add))


def test_a_graph_for_another_grid_has_obstacles(tiny_graph: Graph) -> None:
    def add(builder: GraphBuilder, x: str) -> str:
        (y,) = builder.add("wide", Linear(np.array([[200]], np.int16)), x)
        return builder.add("lif", lif((1,), theta=np.array([[65]]), fraction_bits=5), y)[0]

    found = [problem.what for problem in loihi2().obstacles(build((1,), add))]
    assert found == [
        "a weight is too large",
        "a threshold is off the grid",
        "its state is too wide",
        "its state has another grid",
    ]
    assert {problem.what for problem in loihi2().obstacles(tiny_graph)} == {"its state is too wide"}
