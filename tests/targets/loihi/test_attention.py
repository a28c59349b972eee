"""The order of attention's products: the cheaper is taken, and either is exact."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.graph.serialize import from_json, to_json
from spikeloom.compiler.graph.verify import verify
from spikeloom.compiler.mapping.network import Network
from spikeloom.errors import InputError
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.runtime.estimate.load import pipeline_depth
from spikeloom.targets.loihi.attention import Form, chains, reorder, streamed_chains
from spikeloom.targets.loihi.engine import LoihiEngine
from spikeloom.targets.loihi.lowering.rule import EXISTING, PROGRAM
from spikeloom.targets.loihi.program import LONGEST_DELAY
from spikeloom.targets.loihi.target import Loihi1, Loihi2


def lif(axes: int) -> IntegerNeuron:
    one = (1,) * axes
    return IntegerNeuron(np.full((1, *one), 64 * 3), np.zeros(one, np.int64), 2048, 7, state_bits=24)


def ssa(heads: int, tokens: int, width: int, scores_first: bool) -> Graph:
    """Spiking self-attention of q, k and v as they come, [3 heads, tokens, width]."""
    builder = GraphBuilder("ssa", Stage.INTEGER, "loihi2")
    x = builder.input("x", Type((3 * heads, tokens, width), SPIKES))
    q, k, v = builder.add("split", Split(0, (heads, heads, heads)), x)
    (k,) = builder.add("kT", Transpose((0, 2, 1)), k)
    if scores_first:
        (y,) = builder.add("mix", MatMul(), *builder.add("first", MatMul(), q, k), v)
    else:
        (y,) = builder.add("mix", MatMul(), q, *builder.add("first", MatMul(), k, v))
    builder.output(builder.add("lif", lif(3), y)[0])
    return builder.build()


def sdsa(tokens: int, width: int) -> Graph:
    """Spike-driven self-attention: the fired sums of k and v mask q."""
    builder = GraphBuilder("sdsa", Stage.INTEGER, "loihi2")
    x = builder.input("x", Type((3, tokens, width), SPIKES))
    q, k, v = builder.add("split", Split(0, (1, 1, 1)), x)
    (sums,) = builder.add("sums", ReduceSum((1,)), *builder.add("both", Mul(), k, v))
    (mask,) = builder.add("mask", Reshape((1, 1, width)), *builder.add("lif", lif(2), sums))
    builder.output(builder.add("masked", Mul(), q, mask)[0])
    return builder.build()


def neurons_and_synapses(network: Network) -> tuple[int, int]:
    placed = sum(population.size for population in network.placed)
    return placed, sum(network.synapses(number) for number in range(len(network.projections)))


@pytest.mark.parametrize(("tokens", "width", "wanted"), [(16, 4, "right first"), (4, 16, "left first")])
@pytest.mark.parametrize("scores_first", [True, False])
def test_the_cheaper_order_is_taken(tokens: int, width: int, wanted: str, scores_first: bool) -> None:
    graph = ssa(2, tokens, width, scores_first)
    (chain,) = chains(graph)
    assert chain.chosen("cheapest").form == wanted
    (after,) = chains(reorder(graph))
    assert after.written == wanted
    verify(reorder(graph))


@pytest.mark.parametrize("scores_first", [True, False])
@pytest.mark.parametrize("form", ["left first", "right first"])
def test_both_orders_are_exact_on_the_chip_and_cost_what_is_said(form: Form, scores_first: bool) -> None:
    graph = ssa(2, 6, 3, scores_first)
    target = Loihi2(form)
    frames = (np.random.default_rng(1).random((5, 2, 6, 6, 3)) < 0.5).astype(np.uint8)
    engines = {
        "reference": ReferenceEngine(graph),
        "loihi": LoihiEngine(target.program(target.arrange(graph)), graph),
    }
    result = compare_engines(engines, [("ssa", frames)])  # type: ignore[arg-type]
    assert not result.mismatches
    reference = ReferenceEngine(graph)
    reference.reset(2)
    assert 0.1 < reference.run(frames).spikes["lif"].mean() < 0.9
    (chain,) = chains(graph)
    order = chain.chosen(form)
    neurons, synapses = neurons_and_synapses(target.lower(target.arrange(graph)))
    assert (neurons - 2 * 6 * 3, synapses) == (order.neurons, order.synapses)


@pytest.mark.parametrize("scores_first", [True, False])
@pytest.mark.parametrize("kind", ["rows", "memory"])
@pytest.mark.parametrize(("tokens", "width"), [(6, 3), (3, 5)])
def test_streams_are_exact_and_cost_what_is_said(
    kind: Form, tokens: int, width: int, scores_first: bool
) -> None:
    graph = ssa(2, tokens, width, scores_first)
    target = Loihi2(kind)
    arranged = target.arrange(graph)
    program = target.program(arranged)
    frames = (np.random.default_rng(1).random((5, 2, 6, tokens, width)) < 0.5).astype(np.uint8)
    engines: dict[str, Engine] = {
        "reference": ReferenceEngine(graph),
        "loihi": LoihiEngine(program, arranged),
    }
    assert not compare_engines(engines, [("ssa", frames)]).mismatches
    ((_, stream),) = streamed_chains(arranged).values()
    neurons, synapses = neurons_and_synapses(target.lower(arranged))
    readers = 2 * tokens * width
    assert (neurons - readers, synapses) == (stream.neurons, stream.synapses)
    assert (program.steps, program.latency) == (stream.slots, stream.steps)
    assert {one.model for one in program.processes} >= {"gate"} | ({"memory"} if kind == "memory" else set())


def test_streams_need_fewer_neurons_where_tokens_are_many() -> None:
    """Both products at once make a neuron of every product."""
    (chain,) = chains(ssa(1, 64, 16, True))
    at_once = min(order.neurons for order in chain.orders)
    assert min(stream.neurons for stream in chain.streams) < at_once / 4
    streamed = reorder(ssa(1, 64, 16, True), "streamed")
    ((_, chosen),) = streamed_chains(streamed).values()
    assert chosen.work == min(stream.work for stream in chain.streams)
    assert chosen.slots == 16, "channel by channel"


def test_a_stream_keeps_what_is_written_in_the_graph() -> None:
    graph = ssa(2, 6, 3, True)
    streamed = reorder(graph, "rows")
    again = from_json(*to_json(streamed))
    assert [node.op.streamed for node in again.nodes if isinstance(node.op, MatMul)] == ["rows", "rows"]
    runs = [Interpreter(graph), Interpreter(again)]
    x = (np.random.default_rng(0).random((3, 6, 6, 3)) < 0.4).astype(np.int64)
    for run in runs:
        run.reset(3)
    wanted, got = (run.step(x) for run in runs)
    assert (wanted["lif"] == got["lif"]).all()


def test_what_would_fill_more_than_a_board_is_streamed() -> None:
    small, large = ssa(1, 16, 16, True), ssa(8, 196, 64, True)
    assert not streamed_chains(Loihi2().arrange(small))
    assert streamed_chains(Loihi2().arrange(large))
    assert not streamed_chains(Loihi2("left first").arrange(large)), "a form that is asked for is taken"
    assert not streamed_chains(Loihi1().arrange(large))


def test_what_would_not_fit_the_chips_that_may_be_used_is_streamed() -> None:
    graph = ssa(4, 64, 32, True)
    assert streamed_chains(Loihi2().arrange(graph, chips=1))
    assert not streamed_chains(Loihi2().arrange(graph, chips=8))
    assert not streamed_chains(Loihi2().arrange(graph, chips=1, attention="at once"))
    ((_, stream),) = streamed_chains(Loihi2().arrange(graph, attention="memory")).values()
    assert stream.kind == "memory"
    with pytest.raises(InputError, match=r"SL0901 --attention: no such form .*rows or memory"):
        Loihi2().arrange(graph, attention="slowly")


@pytest.mark.parametrize("kind", ["rows", "memory"])
def test_loihi1_refuses_streams_by_name(kind: Form) -> None:
    target = Loihi1(kind)
    (problem,) = target.obstacles(target.arrange(ssa(1, 4, 4, True)))
    assert (problem.code, problem.where) == ("SL0602", "mix")
    assert "streamed in 4 chip steps a network step" in problem.what


@pytest.mark.parametrize("kind", ["rows", "memory"])
def test_whole_networks_wait_for_streams(kind: Form, spikformer: Callable[..., Graph]) -> None:
    """Residual paths wait longer than synapses can: holds stand in, and every other neuron waits."""
    sizes = {"image": (2, 16, 16), "pools": (True, False), "dim": 8, "heads": 2, "blocks": 2, "classes": 3}
    graph = spikformer(**sizes)
    target = Loihi2(kind)
    arranged = target.arrange(graph)
    program = target.program(arranged)
    assert program.steps == (64 if kind == "memory" else 4)
    frames = (np.random.default_rng(0).random((4, 2, 2, 16, 16)) < 0.3).astype(np.uint8)
    reference = ReferenceEngine(graph)
    engines: dict[str, Engine] = {"reference": reference, "loihi": LoihiEngine(program, arranged)}
    assert not compare_engines(engines, [("it", frames)]).mismatches
    reference.reset(2)
    assert all(0.05 < spikes.mean() < 0.95 for spikes in reference.run(frames).spikes.values())
    holds = [one for one in program.processes if ".held" in one.name]
    assert bool(holds) == (kind == "memory")
    assert max(one.delay for one in program.synapses) <= LONGEST_DELAY
    network = target.lower(arranged)
    assert all(one.tag == PROGRAM for one in network.placed if one.role == "neuron" and not one.streams)
    assert pipeline_depth(network) == program.latency


def test_as_written_changes_nothing() -> None:
    graph = ssa(2, 16, 4, True)
    assert reorder(graph, "as written") is graph


def test_a_result_that_is_used_twice_keeps_its_place() -> None:
    builder = GraphBuilder("twice", Stage.INTEGER)
    q, k, v = (builder.input(name, Type((1, 4, 4), SPIKES)) for name in "qkv")
    (scores,) = builder.add("scores", MatMul(), q, k)
    builder.output(builder.add("mix", MatMul(), scores, v)[0])
    builder.output(scores)
    assert not list(chains(builder.build()))


def test_published_costs() -> None:
    """16 tokens of 16 channels: prototypes with Lava's processes took 528 neurons and 1,280 synapses for
    spike-driven attention; 8,704 and 24,576 for (q k) v in parallel, with the neurons behind it.
    """
    network = Loihi2().lower(ssa(1, 16, 16, True))
    assert neurons_and_synapses(network) == (8704, 24576)
    network = Loihi2().lower(sdsa(16, 16))
    assert neurons_and_synapses(network) == (528, 1280)
    assert {population.tag for population in network.placed} == {EXISTING}, "honest on the chip's own LIF"


def test_reordering_keeps_the_meaning() -> None:
    graph = ssa(2, 16, 4, True)
    runs = [Interpreter(graph), Interpreter(reorder(graph))]
    x = (np.random.default_rng(0).random((3, 6, 16, 4)) < 0.4).astype(np.int64)
    for run in runs:
        run.reset(3)
    wanted, got = (run.step(x) for run in runs)
    assert (wanted["mix"] == got["mix"]).all()
    assert wanted["first"].shape != got["first"].shape


def test_the_page_of_costs_is_current() -> None:
    root = Path(__file__).resolve().parents[3]
    script = root / "docs" / "render_attention.py"
    shown = subprocess.run([sys.executable, script, "-"], capture_output=True, text=True, check=True).stdout
    assert shown == (root / "docs" / "attention.md").read_text(encoding="utf-8"), "run `make docs`"
    assert "| SDSA | 1 x 16 x 16 | 1 | 528 | 1,280 |" in shown
