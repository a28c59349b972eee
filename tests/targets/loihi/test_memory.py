"""Delays, loops and resonators on the chips: what they cost, when samples end, what cannot be had."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.resonator import Resonator
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.errors import UnsupportedError
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.runtime.estimate.activity import measure, population_rates
from spikeloom.targets.loihi import loihi1, loihi2
from spikeloom.targets.loihi.engine import Chip, LoihiEngine
from spikeloom.targets.loihi.lava import LavaEngine, by_sample, fed
from spikeloom.targets.loihi.lowering.rule import EXISTING, PROGRAM
from spikeloom.targets.loihi.target import Loihi, Loihi2

N = 6
RNG = np.random.default_rng(3)
WEIGHT = RNG.integers(-40, 100, (N, N)).astype(np.int8)
BACK = RNG.integers(-60, 90, (N, N)).astype(np.int8)


def neuron(bias: int = 0) -> IntegerNeuron:
    return IntegerNeuron(np.full((1, 1), 64 * 60), np.full(N, bias), 2048, 7, state_bits=24)


def built(add: Callable[[GraphBuilder, str], str]) -> Graph:
    builder = GraphBuilder("memory", Stage.INTEGER)
    builder.output(add(builder, builder.input("x", Type((N,), SPIKES))))
    return builder.build()


def late_behind_weights(steps: int, bias: int = 0) -> Graph:
    """A neuron layer with a bias; the next gets its spikes late by steps of each target."""

    def add(builder: GraphBuilder, x: str) -> str:
        (x,) = builder.add("fc", Linear(WEIGHT), x)
        (x,) = builder.add("first", neuron(bias), x)
        (x,) = builder.add("next", Linear(WEIGHT), x)
        (x,) = builder.add("late", Delay(np.linspace(0, steps, N).astype(np.int64)), x)
        return builder.add("second", neuron(), x)[0]

    return built(add)


def late_spikes(steps: int, bias: int = 0) -> Graph:
    """The same, late by steps of each source."""

    def add(builder: GraphBuilder, x: str) -> str:
        (x,) = builder.add("fc", Linear(WEIGHT), x)
        (x,) = builder.add("first", neuron(bias), x)
        (x,) = builder.add("late", Delay(np.linspace(0, steps, N).astype(np.int64)), x)
        (x,) = builder.add("next", Linear(WEIGHT), x)
        return builder.add("second", neuron(), x)[0]

    return built(add)


def loop(bias: int = 0) -> Graph:
    def add(builder: GraphBuilder, x: str) -> str:
        (x,) = builder.add("fc", Linear(WEIGHT), x)
        op = RecurrentNeuron(BACK, np.full((1, N), 64 * 70), np.full(N, bias), 1024, 7, None, 24)
        return builder.add("loop", op, x)[0]

    return built(add)


def ring(by_phase: bool) -> Graph:
    def add(builder: GraphBuilder, x: str) -> str:
        parts = [builder.add(name, Linear(weight), x)[0] for name, weight in (("re", WEIGHT), ("im", BACK))]
        return builder.add("ring", Resonator(2000, 3300, 64 * 40, 6, by_phase), *parts)[0]

    return built(add)


def window() -> Graph:
    def add(builder: GraphBuilder, x: str) -> str:
        (x,) = builder.add("gate", TimeGate(1, 30), x)
        (x,) = builder.add("window", TimeWindow(3, 0, 2), x)
        weight = np.where(np.arange(3 * N) % 2, np.tile(WEIGHT, (1, 3)), 0).astype(np.int8)
        (x,) = builder.add("fc", Linear(weight), x)
        return builder.add("lif", neuron(), x)[0]

    return built(add)


GRAPHS = {
    "late": late_behind_weights(9, bias=1280),
    "late spikes": late_spikes(9, bias=1280),
    "relayed": late_behind_weights(130),
    "relayed spikes": late_spikes(130, bias=1280),
    "loop": loop(bias=640),
    "by phase": ring(by_phase=True),
    "by threshold": ring(by_phase=False),
    "window": window(),
}


def frames(steps: int, batch: int = 3) -> np.ndarray:
    """The last sample is silent: what it sends is left over, or its own biases' doing."""
    found = (np.random.default_rng(steps).random((steps, batch, N)) < 0.4).astype(np.uint8)
    found[:, -1] = 0
    return found


@pytest.mark.parametrize("name", GRAPHS)
def test_every_step_is_that_of_the_graph(name: str) -> None:
    """In calls of any length; what is on its way passes from one to the next, and to another engine."""
    graph = GRAPHS[name]
    engines: list[Engine] = [ReferenceEngine(graph), LoihiEngine(loihi2().program(graph), graph)]
    given = frames(150)
    for engine in engines:
        engine.reset(3)
    fired = 0
    for start, stop in ((0, 3), (3, 4), (4, 90), (90, 150)):
        wanted, got = (engine.run(given[start:stop]) for engine in engines)
        fired += int(wanted.spikes[graph.outputs[0]].sum())
        assert all((wanted.spikes[layer] == got.spikes[layer]).all() for layer in wanted.spikes), name
        engines[1].restore(engines[1].state())
    assert fired > 100
    states = [engine.state() for engine in engines]
    assert all((states[0][key] == states[1][key]).all() for key in states[0])


@pytest.mark.parametrize("name", sorted({*GRAPHS} - {"late", "relayed"}))
def test_a_state_comes_from_another_engine(name: str) -> None:
    graph, given = GRAPHS[name], frames(40)
    reference, engine = ReferenceEngine(graph), LoihiEngine(loihi2().program(graph), graph)
    reference.reset(3)
    reference.run(given[:20])
    engine.restore(reference.state())
    assert (reference.run(given[20:]).output == engine.run(given[20:]).output).all()


def test_sums_that_another_engine_remembers_do_not_tell_the_messages() -> None:
    graph = GRAPHS["late"]
    reference, engine = ReferenceEngine(graph), LoihiEngine(loihi2().program(graph), graph)
    reference.reset(3)
    engine.restore(reference.state())  # nothing is on its way
    reference.run(frames(20))
    with pytest.raises(UnsupportedError, match="SL0801 loihi: what first sent cannot be told from the sums"):
        engine.restore(reference.state())


def test_delays_are_synapses_and_long_ones_have_relays() -> None:
    short, long = (loihi2().program(late_spikes(steps)) for steps in (62, 130))
    assert [(one.name, one.tag) for one in short.processes] == [
        ("x", EXISTING),
        ("first", EXISTING),
        ("second", EXISTING),
    ]
    assert [one.name for one in long.processes if "relay" in one.name] == ["late.relay1", "late.relay2"]
    assert all(one.tag == EXISTING for one in long.processes)
    assert max(one.longest for one in (*short.synapses, *long.synapses)) == 62
    assert (short.latency, long.latency) == (2, 4)  # a relay costs a step


@pytest.mark.parametrize("name", GRAPHS)
def test_messages_of_every_population_are_known(name: str) -> None:
    """Of relays too, which send what the value sends that they hold."""
    graph = GRAPHS[name]
    rates = population_rates(loihi2().lower(graph), graph, measure(graph, [frames(20)]))
    assert all(rate > 0 for rate in rates.values()), rates


def test_a_loop_takes_one_chip_step() -> None:
    program = loihi2().program(loop())
    (back,) = (one for one in program.synapses if one.source == one.target)
    assert (back.delay, back.longest, len(back.weights)) == (0, 0, int(np.count_nonzero(BACK)))
    assert loihi2().lower(loop()).shares()[EXISTING] == {"neurons": N, "synapses": 2 * N * N}


@pytest.mark.parametrize("target", [loihi1(), loihi2()])
@pytest.mark.parametrize("name", ["late", "late spikes", "relayed spikes", "loop"])
def test_both_chips_have_synaptic_delays_and_loops(name: str, target: Loihi) -> None:
    assert target.obstacles(GRAPHS[name]) == []
    assert target.program(GRAPHS[name]).remembers


def test_what_comes_back_keeps_to_the_grid() -> None:
    def add(builder: GraphBuilder, x: str) -> str:
        op = RecurrentNeuron(
            BACK.astype(np.int64) * 2, np.full((1, N), 70), np.zeros(N, int), 1024, 7, None, 24
        )
        return builder.add("loop", op, x)[0]

    problems = loihi2().obstacles(built(add))
    assert [problem.what for problem in problems] == ["a weight is too large", "a threshold is off the grid"]


def test_resonators_and_gates_need_a_program() -> None:
    for name, program in (("by phase", "ring"), ("window", "gate")):
        graph = GRAPHS[name]
        assert loihi2().lower(graph).population(program).tag == PROGRAM
        assert [problem.where for problem in loihi1().obstacles(graph)] == [program]


def test_currents_that_wait_longer_than_synapses_need_a_program() -> None:
    assert [problem.where for problem in loihi1().obstacles(GRAPHS["relayed"])] == [
        "late.relay1",
        "late.relay2",
    ]


def slots(tokens: int, remembers: Callable[[GraphBuilder, str], str]) -> Graph:
    """Attention over some tokens, which is streamed, behind something that remembers."""
    builder = GraphBuilder("slots", Stage.INTEGER)
    x = remembers(builder, builder.input("x", Type((tokens * 2,), SPIKES)))
    (x,) = builder.add("tokens", Reshape((tokens, 2)), x)
    (turned,) = builder.add("turn", Transpose((1, 0)), x)
    (scores,) = builder.add("scores", MatMul(), x, turned)
    builder.output(builder.add("mix", MatMul(), scores, x)[0])
    return Loihi2("rows").arrange(builder.build())


def back(n: int) -> Callable[[GraphBuilder, str], str]:
    op = RecurrentNeuron(np.eye(n, dtype=np.int8), np.full((1, n), 64), np.zeros(n, int), 2048, 7, None, 24)
    return lambda builder, x: builder.add("loop", op, x)[0]


def test_a_loop_waits_for_its_network_step() -> None:
    graph = slots(5, back(10))
    program = loihi2().program(graph)
    (returning,) = (one for one in program.synapses if one.source == one.target)
    assert (program.steps, returning.longest) == (2, 1)  # a channel of v a slot
    given = (np.random.default_rng(0).random((9, 2, 10)) < 0.3).astype(np.uint8)
    engines: dict[str, Engine] = {"a": ReferenceEngine(graph), "b": LoihiEngine(program, graph)}
    assert not compare_engines(engines, [("slots", given)]).mismatches


def test_a_network_step_longer_than_a_synapse_waits_is_refused() -> None:
    def wide(width: int, remembers: Callable[[GraphBuilder, str], str]) -> Graph:
        builder = GraphBuilder("wide", Stage.INTEGER)
        x = remembers(builder, builder.input("x", Type((width * width,), SPIKES)))
        (x,) = builder.add("tokens", Reshape((width, width)), x)
        (scores,) = builder.add("scores", MatMul(), x, x)
        builder.output(builder.add("mix", MatMul(), scores, x)[0])
        return Loihi2("rows").arrange(builder.build())

    late = Delay(np.array([1]))
    with pytest.raises(UnsupportedError, match=r"SL0603 late .*a synapse cannot wait for a network step"):
        loihi2().lower(wide(64, lambda builder, x: builder.add("late", late, x)[0]))
    with pytest.raises(UnsupportedError, match=r"SL0603 loop .*must come back within 1 network step"):
        loihi2().lower(wide(64, back(64 * 64)))


def test_resonators_do_not_wait_for_slots() -> None:
    def rings(builder: GraphBuilder, x: str) -> str:
        return builder.add("ring", Resonator(2000, 3300, 64, 6), x, x)[0]

    with pytest.raises(UnsupportedError, match=r"SL0602 ring: works in every chip step"):
        loihi2().program(slots(5, rings))


@pytest.mark.parametrize("name", ["late spikes", "loop"])
def test_samples_without_a_pause_would_be_wrong(name: str) -> None:
    """Spikes on their way outlive the reset of a layer; so the chip forgets all before each sample."""
    graph = GRAPHS[name]
    program = loihi2().program(graph)
    given = frames(12)[:, [0, 2]]
    reference = ReferenceEngine(graph)
    reference.reset(2)
    wanted = np.swapaxes(reference.run(given).output, 0, 1)
    assert program.interval(12) == 12 + program.deepest
    raw = fed(program, np.swapaxes(given, 0, 1))
    for forgets in (True, False):
        chip, sent = Chip(program), []
        for step, row in enumerate(raw[: 2 * program.interval(12)]):
            if step == 0 or (forgets and step % program.interval(12) == 0):
                chip.reset(1)
            begins = (step - one.depth for one in program.processes)
            fresh = [
                one
                for one, since in zip(program.processes, begins, strict=True)
                if one.has_state and since >= 0 and since % program.interval(12) == 0
            ]
            load = {one.name: chip.rest(one) for one in fresh}
            sent.append(chip.step({"x": row[:, None].astype(np.int64)}, load)[program.output][:, 0])
        got = by_sample(program, np.stack(sent), program.latency, 12, 2)
        assert bool((got == wanted).all()) is forgets


@pytest.mark.lava
@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.usefixtures("lava")
def test_lava_remembers_alike(name: str) -> None:
    graph = GRAPHS[name]
    engines: dict[str, Engine] = {
        "reference": ReferenceEngine(graph),
        "lava": LavaEngine(loihi2().program(graph), graph),
    }
    given = frames(140 if "relayed" in name else 25)
    assert not compare_engines(engines, [(name, given)]).mismatches
