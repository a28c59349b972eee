"""The builder, the verifier, the printer, rewriting, and the interpreter's state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage, Unit, live_nodes
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import REAL, SPIKES, Type, sums
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.printer import to_text
from spikeloom.compiler.graph.rewrite import rewrite
from spikeloom.compiler.graph.source import Source
from spikeloom.compiler.graph.verify import verify
from spikeloom.errors import InternalError

TEXT = """\
graph tiny (integer, profile onnx)
  input  x : spikes[2,6]
  conv = conv1d(x) {weight=int8[4,2,3] -2..4, stride=(1,), padding=(1,), dilation=(1,), groups=1} : \
current(-3,10)[4,6]
  lif1 = integer_neuron(conv) {theta=int64[1,4,1] 300..300, bias=int64[4,1] -5..9, decay=2048, \
fraction_bits=6, reset=hard, state_bits=24, horizon=0} : spikes[4,6]
    state v : current(-8388607,8388607)[4,6]
  halves:0, halves:1 = split(lif1) {axis=0, sizes=(2, 2)} : spikes[2,6], spikes[2,6]
  residual = add(halves:0, halves:1) : sum(0,2)[2,6]
  lif2 = integer_neuron(residual) {theta=int64[1,1] 70..70, bias=int64[1] 0..0, decay=1024, \
fraction_bits=6, current_decay=512, reset=hard, state_bits=24, horizon=0} : spikes[2,6]
    state u : current(-8388607,8388607)[2,6]
    state v : current(-8388607,8388607)[2,6]
  counts = reduce_sum(lif2) {axes=(1,)} : sum(0,6)[2]
  head = linear(counts) {weight=int8[2,2] -4..6, bias=int64[2] 1..2} : current(-22,38)[2]
  output head"""


def test_printed_graph(network: Graph) -> None:
    assert to_text(network) == TEXT


# --- builder ---------------------------------------------------------------------------------------------


def test_builder_refuses_a_broken_rule_and_names_the_line() -> None:
    builder = GraphBuilder("g", Stage.INTEGER)
    x = builder.input("x", Type((4,), SPIKES))
    with pytest.raises(InternalError, match=r"SL0401 blocks.0.cut at blocks.0 \(model.py:12\): split"):
        builder.add("blocks.0.cut", Split(0, (2, 3)), x, source=Source("blocks.0", "model.py", 12))


def test_builder_refuses_a_name_that_is_taken() -> None:
    builder = GraphBuilder("g", Stage.INTEGER)
    x = builder.input("x", Type((4,), SPIKES))
    builder.add("y", Add(), x, x)
    for taken in ("x", "y"):
        with pytest.raises(InternalError, match=f"SL0401 {taken}: two values"):
            builder.add(taken, Add(), x, x)


def test_unique_names() -> None:
    builder = GraphBuilder("g", Stage.INTEGER)
    x = builder.input("x", Type((4,), SPIKES))
    builder.add("cut", Split(0, (2, 2)), x)  # its values are cut:0 and cut:1
    builder.add("cut.1", Add(), x, x)
    assert [builder.unique(name) for name in ("new", "x", "cut", "cut:0")] == [
        "new",
        "x.1",
        "cut.2",
        "cut:0.1",
    ]


def test_who_makes_and_who_uses_a_value(network: Graph) -> None:
    assert network.producers["halves:1"].name == "halves"
    assert "x" not in network.producers
    assert [node.name for node in network.consumers["lif1"]] == ["halves"]
    assert "head" not in network.consumers
    assert [node.name for node in network.neurons()] == ["lif1", "lif2"]
    assert network.node("residual").output == "residual"
    with pytest.raises(ValueError, match="unpack"):
        _ = network.node("halves").output


def test_a_value_used_twice_by_a_node_has_one_consumer() -> None:
    builder = GraphBuilder("g", Stage.INTEGER)
    x = builder.input("x", Type((4,), SPIKES))
    builder.add("y", Add(), x, x)
    assert len(builder.build().consumers["x"]) == 1


def test_live_nodes(network: Graph) -> None:
    assert [n.name for n in live_nodes(network.nodes, ["halves:1"])] == ["conv", "lif1", "halves"]
    assert live_nodes(network.nodes, ["x"]) == ()


# --- verifier --------------------------------------------------------------------------------------------


def _faults(graph: Graph) -> list[str]:
    with pytest.raises(InternalError) as caught:
        verify(graph)
    assert {problem.code for problem in caught.value.problems} == {"SL0401"}
    return [f"{problem.where.split(' at ')[0]}: {problem.what}" for problem in caught.value.problems]


def test_a_sound_graph_passes(network: Graph) -> None:
    verify(network)


def test_every_fault_is_listed(network: Graph) -> None:
    conv, lif1, halves, residual, *rest = network.nodes
    broken = network.replace(
        nodes=(
            replace(lif1, inputs=("conv",)),  # before conv is made
            conv,
            replace(halves, op=Split(0, (1, 2))),  # breaks its rule
            replace(residual, inputs=("halves:0",)),  # lacks an input
            *rest,
            replace(rest[0], outputs=("lif2",)),  # made again
        ),
        types={**network.types, "counts": Type((2,), SPIKES), "head": Type((2,), REAL)},
        outputs=("head", "nothing"),
    )
    faults = _faults(broken)
    for fault in (
        "lif1: uses conv before they are made",
        "halves: split: spikes[4,6] cannot be cut into (1, 2) along axis 0",
        "residual: add: not enough values to unpack (expected 2, got 1)",
        "counts: is declared to give (spikes[2],) and gives (sum(0,6)[2],)",
        "lif2: makes lif2 again",
        "lif2: is the name of several nodes",
        "nothing: is an output that nothing makes",
        "head: is real[2] in an integer graph",
    ):
        assert fault in faults


def test_values_without_a_type_are_faults(network: Graph) -> None:
    types = {name: kind for name, kind in network.types.items() if name not in ("x", "lif1")}
    faults = _faults(network.replace(types=types))
    assert "x: is an input without a type" in faults
    assert "conv: uses x before they are made" in faults
    assert "halves: uses lif1 before they are made" in faults


def test_real_values_are_faults_only_in_an_integer_graph() -> None:
    builder = GraphBuilder("g", Stage.INTEGER)
    x = builder.input("x", Type((4,), REAL))
    builder.output(builder.add("y", Add(), x, x)[0])
    graph = builder.build()
    verify(graph.replace(stage=Stage.CANONICAL))
    assert _faults(graph) == ["x: is real[4] in an integer graph", "y: is real[4] in an integer graph"]


def test_two_nodes_of_one_name_would_share_a_state() -> None:
    """What the verifier's rule on names is for: the values have different names."""
    lif = IntegerNeuron(np.array([[1]]), np.array([0]), 4096, 0)
    x = Type((2,), SPIKES)
    nodes = (Node("n", lif, ("x",), ("a",)), Node("n", lif, ("x",), ("b",)))
    graph = Graph("g", Stage.INTEGER, ("x",), ("a",), nodes, {"x": x, "a": x, "b": x})
    assert _faults(graph) == ["n: is the name of several nodes"]


# --- rewriting -------------------------------------------------------------------------------------------


def test_rewriting_nothing_copies_the_graph(network: Graph) -> None:
    copy = rewrite(network, lambda builder, node, inputs: None)
    assert to_text(copy) == to_text(network)
    assert copy.nodes == network.nodes
    assert copy.units == network.units


def test_rewriting_replaces_nodes_and_follows_the_new_names(network: Graph) -> None:
    """The residual becomes a longer way round; the neuron after it reads the new value."""

    def visit(builder: GraphBuilder, node: Node, inputs: tuple[str, ...]) -> tuple[str, ...] | None:
        if node.name != "residual":
            return None
        flat = [builder.add(f"flat{i}", Reshape((12,)), name)[0] for i, name in enumerate(inputs)]
        (total,) = builder.add("total", Add(), *flat)
        return builder.add("back", Reshape((2, 6)), total)

    longer = rewrite(network, visit)
    verify(longer)
    assert longer.node("lif2").inputs == ("back",)
    assert longer.types["total"] == Type((12,), sums(0, 2))
    assert (_head(network) == _head(longer)).all()


def test_a_unit_follows_the_value_unless_the_rewriting_gives_another(network: Graph) -> None:
    def rename(builder: GraphBuilder, node: Node, inputs: tuple[str, ...]) -> tuple[str, ...] | None:
        return builder.add("evidence", node.op, *inputs) if node.name == "head" else None

    def halve(builder: GraphBuilder, node: Node, inputs: tuple[str, ...]) -> tuple[str, ...] | None:
        if node.name == "head":
            builder.units["evidence"] = Unit(np.array(0.125), np.zeros(()))
        return rename(builder, node, inputs)

    assert rewrite(network, rename).units["evidence"].scale == 0.25
    assert rewrite(network, halve).units["evidence"].scale == 0.125


def _head(graph: Graph, seed: int = 0) -> np.ndarray:
    frames = np.random.default_rng(seed).integers(0, 2, (6, 3, 2, 6))
    run = Interpreter(graph)
    run.reset(3)
    return np.stack([run.step(frame)[graph.outputs[0]] for frame in frames])


# --- interpreter -----------------------------------------------------------------------------------------


def test_the_network_fires(network: Graph) -> None:
    """What the tests of state below rest on."""
    run = Interpreter(network)
    run.reset(3)
    frames = np.random.default_rng(0).integers(0, 2, (6, 3, 2, 6))
    steps = [run.step(frame) for frame in frames]
    for name in ("lif1", "lif2"):
        assert 0.05 < np.mean([step[name] for step in steps]) < 0.95


def test_a_step_is_what_the_operations_give(network: Graph) -> None:
    run = Interpreter(network)
    run.reset(2)
    frame = np.random.default_rng(1).integers(0, 2, (2, 2, 6))
    values = run.step(frame.astype(np.uint8))
    (conv,) = network.node("conv").op.evaluate(frame)
    assert (values["conv"] == conv).all()
    v = conv * 64 + np.array([5, 0, -5, 9])[:, None]
    assert (values["lif1"] == (v > 300)).all()
    assert all(array.dtype == np.int64 for array in values.values())


def test_state_is_kept_saved_and_put_back(network: Graph) -> None:
    frames = np.random.default_rng(2).integers(0, 2, (8, 3, 2, 6))
    run = Interpreter(network)
    run.reset(3)
    for frame in frames[:4]:
        run.step(frame)
    saved = {name: array.copy() for name, array in run.state.items()}
    assert set(saved) == {"lif1/v", "lif2/u", "lif2/v"}
    rest = [run.step(frame)["lif2"] for frame in frames[4:]]
    run.state = saved
    assert all((a == run.step(f)["lif2"]).all() for a, f in zip(rest, frames[4:], strict=True))
    run.reset(3)
    fresh = [run.step(frame)["lif2"] for frame in frames[4:]]
    assert any((a != b).any() for a, b in zip(rest, fresh, strict=True))  # the state mattered


def test_a_state_may_be_changed_in_one_sample_alone(network: Graph) -> None:
    run = Interpreter(network)
    run.reset(2)
    run.state["lif2/v"][1] = 70
    values = run.step(np.zeros((2, 2, 6)))
    assert not values["lif2"][0].any()
    assert (run.state["lif2/v"][1] == 70 * 3 // 4).all()


def test_a_step_leaves_the_saved_state_alone(network: Graph) -> None:
    run = Interpreter(network)
    run.reset(1)
    before = run.state
    kept = {name: array.copy() for name, array in before.items()}
    saved = dict(before)
    run.step(np.ones((1, 2, 6)))
    assert all((saved[name] == kept[name]).all() for name in kept)


def test_samples_do_not_touch_each_other(network: Graph) -> None:
    frames = np.random.default_rng(3).integers(0, 2, (6, 4, 2, 6))
    together = Interpreter(network)
    together.reset(4)
    side_by_side = [together.step(frame)["head"] for frame in frames]
    for sample in range(4):
        alone = Interpreter(network)
        alone.reset(1)
        for frame, wanted in zip(frames, side_by_side, strict=True):
            assert (alone.step(frame[sample : sample + 1])["head"][0] == wanted[sample]).all()


def test_a_float_graph_computes_in_float64() -> None:
    builder = GraphBuilder("g", Stage.CANONICAL)
    x = builder.input("x", Type((1,), SPIKES))
    builder.output(builder.add("y", Add(), x, x)[0])
    assert Interpreter(builder.build()).step(np.ones((1, 1), np.float32))["y"].dtype == np.float64
