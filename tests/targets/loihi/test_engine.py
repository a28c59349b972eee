"""The chip's steps against the integer graph: random networks, streams, resets, chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.errors import InputError, UnsupportedError
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines import engine_names, open_engine
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.runtime.estimate.activity import measure
from spikeloom.targets.loihi import loihi2
from spikeloom.targets.loihi.attention import Form, streamed_chains
from spikeloom.targets.loihi.engine import Chip, LoihiEngine
from spikeloom.targets.loihi.program import LONGEST_DELAY, Program, Synapses
from spikeloom.targets.loihi.target import Loihi2
from tests.random_networks import RandomNetwork
from tests.targets.loihi.random_programs import random_program

PARTS, EACH = 8, 250
"""2,000 networks that fire; a part is one test, so that parts can run side by side."""
RULES = {
    "accumulate", "add", "broadcast", "concat", "conv1d", "conv2d", "delay", "integer_neuron", "linear",
    "matmul", "max_pool2d", "mul", "pad", "recurrent_neuron", "reduce_sum", "rescale", "reshape", "resonator",
    "slice", "split", "time_gate", "time_window", "transpose",
}  # fmt: skip
MODELS = {
    "input", "lif", "counter", "resonator", "sum", "largest", "relay", "product", "gate", "memory", "readout",
}  # fmt: skip
SYNAPSES = {"delays", "graded", "late by source", "late by target", "loops"}
FORMS: tuple[Form, ...] = ("cheapest", "rows", "memory")
"""Forms of attention that the networks take in turn."""


def networks(part: int) -> Iterator[RandomNetwork]:
    """The first :data:`EACH` networks of a part that fire; few seeds give none."""
    seeds = range(part * 2 * EACH, part * 2 * EACH + EACH + EACH // 5)
    found = list(islice((net for seed in seeds for net in made(seed)), EACH))
    assert len(found) == EACH
    yield from found


def made(seed: int) -> list[RandomNetwork]:
    """The network of a seed; none if a layer of it cannot be brought to fire."""
    try:
        return [random_program(seed)]
    except AssertionError:
        return []


def form_of(net: RandomNetwork) -> Form:
    """Two in three of the networks with products stream them."""
    return FORMS[int(net.graph.name.removeprefix("program")) // 3 % len(FORMS)]


def arranged(net: RandomNetwork) -> RandomNetwork:
    """The network with its attention in its form; at once where no synapse waits as long as its slots."""
    graph = Loihi2(form_of(net)).arrange(net.graph)
    slots = max((stream.slots for _, stream in streamed_chains(graph).values()), default=1)
    waits = any(isinstance(op, Delay | TimeWindow | RecurrentNeuron) for _, op in graph.stateful())
    if waits and slots > LONGEST_DELAY:
        graph = Loihi2().arrange(net.graph)
    return replace(net, graph=graph)


def check(given: RandomNetwork) -> Counter[str]:
    """No spike, no output and no state differs, in two calls; counts what sends something that is not 0."""
    net = arranged(given)
    program = loihi2().program(net.graph)
    engines: dict[str, Engine] = {
        "reference": ReferenceEngine(given.graph),
        "loihi": LoihiEngine(program, net.graph),
    }
    result = compare_engines(engines, [(net.graph.name, net.frames)])
    assert not result.mismatches, result.first
    states = [engine.state() for engine in engines.values()]
    told = {name for name in states[1] if name.endswith("/sent") and name not in states[0]}
    assert states[0].keys() == states[1].keys() - told
    assert all((states[0][name] == states[1][name]).all() for name in states[0]), net.graph.name
    return Counter(at_work(net, program))


def at_work(net: RandomNetwork, program: Program) -> set[str]:
    """Names of operations, models and kinds of synapses through which something goes on these frames."""
    nonzero = measure(net.graph, [net.frames]).nonzero
    rules = {node.op.name for node in net.graph.nodes if any(nonzero[name] for name in node.outputs)}
    models = {one.model for one in program.processes if nonzero.get(one.name, 0)}
    streams = {"product": "", "gate": "rows", "memory": "memory"}
    products = {
        model
        for node in net.graph.nodes
        for model, streamed in streams.items()
        if isinstance(node.op, MatMul) and node.op.streamed == streamed and nonzero[node.output]
    }
    working = [one for one in program.synapses if nonzero.get(one.source, 0)]
    return rules | models | products | {kind for one in working for kind in _kinds(one)}


def _kinds(one: Synapses) -> Iterator[str]:
    """What is special of some synapses."""
    if one.delay:
        yield "delays"
    if one.graded:
        yield "graded"
    if one.source == one.target:
        yield "loops"
    if one.later.size and one.later.min() < one.later.max():
        targets = np.repeat(np.arange(len(one.starts) - 1), np.diff(one.starts))
        for name, ends in (("source", one.sources), ("target", targets)):
            pairs = np.unique(np.stack([ends, one.later]), axis=1)
            if len(pairs.T) == len(np.unique(ends)):
                yield f"late by {name}"


@pytest.mark.parametrize("part", range(PARTS))
def test_random_networks_are_exact_and_every_rule_is_at_work(part: int) -> None:
    seen: Counter[str] = Counter()
    for net in networks(part):
        seen.update(check(net))
    often = {name for name, count in seen.items() if count >= 3}
    assert often >= RULES | MODELS | SYNAPSES, seen


@pytest.fixture(scope="module")
def deep() -> RandomNetwork:
    """A network whose short paths must wait."""
    return next(
        net
        for seed in range(1, 90, 3)
        for net in made(seed)
        if any(one.delay for one in loihi2().program(net.graph).synapses)
    )


def by_steps(graph: Graph, frames: np.ndarray, resets: int) -> dict[str, np.ndarray]:
    """What every layer of the graph sends, with a reset in front of every ``resets``-th step."""
    run = Interpreter(graph)
    steps = []
    for number, frame in enumerate(frames):
        if number % resets == 0:
            run.reset(frames.shape[1])
        steps.append(run.step(frame))
    return {node.name: np.stack([step[node.output] for step in steps]) for node in graph.neurons()}


def on_chip(program: Program, frames: np.ndarray, resets: int) -> dict[str, np.ndarray]:
    """The raw chip, fed without a pause; layers are reset at their own steps only."""
    chip = Chip(program)
    chip.reset(frames.shape[1])
    sent: list[dict[str, np.ndarray]] = []
    for step in range(len(frames) + program.latency):
        frame = frames[min(step, len(frames) - 1)]
        fresh = {
            one.name: chip.rest(one)
            for one in program.processes
            if one.has_state and step >= one.depth and (step - one.depth) % resets == 0
        }
        sent.append(chip.step({"frames": frame.reshape(len(frame), -1).T.astype(np.int64)}, fresh))
    return {
        layer: np.stack(
            [step[one.name].T.reshape(-1, *one.shape) for step in sent[one.depth : one.depth + len(frames)]]
        )
        for layer, one in program.layers.items()
    }


@pytest.mark.parametrize("resets", [1000, 4])
def test_a_stream_without_pauses(deep: RandomNetwork, resets: int) -> None:
    """Never reset, or sample after sample through the same pipeline: each layer resets at its own step."""
    frames = np.concatenate([deep.frames, deep.frames[::-1], deep.frames])[:12]
    program = loihi2().program(deep.graph)
    wanted, got = by_steps(deep.graph, frames, resets), on_chip(program, frames, resets)
    for layer, spikes in wanted.items():
        assert (spikes == got[layer]).all(), layer


def test_resets_at_one_common_step_would_be_wrong(deep: RandomNetwork) -> None:
    frames = np.concatenate([deep.frames] * 3)[:12]
    program = loihi2().program(deep.graph)
    wanted, got = by_steps(deep.graph, frames, 4), on_chip(program, frames, 1000)
    assert any((wanted[layer] != got[layer]).any() for layer in wanted)


def test_a_network_that_is_not_balanced_would_be_wrong(deep: RandomNetwork) -> None:
    program = loihi2().program(deep.graph)
    rushed = Program(
        program.name,
        program.processes,
        tuple(type(one)(**{**vars(one), "delay": 0}) for one in program.synapses),
        program.output,
        program.output_bias,
        program.sums_over_time,
    )
    engines: dict[str, Engine] = {
        "reference": ReferenceEngine(deep.graph),
        "loihi": LoihiEngine(rushed, deep.graph),
    }
    assert compare_engines(engines, [("rushed", deep.frames)]).mismatches


def test_a_state_moves_between_engines(deep: RandomNetwork) -> None:
    half = len(deep.frames) // 2
    reference = ReferenceEngine(deep.graph)
    engine = LoihiEngine(loihi2().program(deep.graph), deep.graph)
    reference.reset(2)
    reference.run(deep.frames[:half])
    engine.restore(reference.state())
    wanted, got = reference.run(deep.frames[half:]), engine.run(deep.frames[half:])
    assert (wanted.output == got.output).all()


def test_the_engine_is_found_by_name_and_checks_frames(deep: RandomNetwork) -> None:
    assert "loihi" in engine_names()
    engine = open_engine("loihi", deep.graph, {})
    engine.reset(2)
    with pytest.raises(InputError, match="SL0803"):
        engine.run(deep.frames[:, :1])


def test_a_program_survives_its_parts(deep: RandomNetwork) -> None:
    program = loihi2().program(deep.graph)
    again = Program.from_parts(*program.to_parts())
    engines: dict[str, Engine] = {"a": LoihiEngine(program, deep.graph), "b": LoihiEngine(again, deep.graph)}
    assert not compare_engines(engines, [("parts", deep.frames)]).mismatches
    with pytest.raises(InputError, match="SL0703"):
        Program.from_parts({"version": 99}, {})


def layer(add: Callable[[GraphBuilder, str], str], size: int) -> Graph:
    builder = GraphBuilder("one", Stage.INTEGER)
    builder.output(add(builder, builder.input("x", Type((size,), SPIKES))))
    return builder.build()


def neuron(**changes: object) -> IntegerNeuron:
    settings = {"theta": np.array([[64]]), "bias": np.array([0]), "decay": 2048, "fraction_bits": 7}
    return IntegerNeuron(**(settings | {"state_bits": 24} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"theta": np.array([[65]])}, "SL0504"),
        ({"bias": np.array([4097])}, "SL0504"),
        ({"current_decay": 1024}, "SL0504"),
    ],
)
def test_what_has_no_register_is_refused(changes: dict[str, object], code: str) -> None:
    def add(builder: GraphBuilder, x: str) -> str:
        (y,) = builder.add("fc", Linear(np.ones((1, 2), np.int8), np.array([1])), x)
        return builder.add("lif", neuron(**changes), y)[0]

    with pytest.raises(UnsupportedError, match=code):
        loihi2().program(layer(add, 2))


def test_a_current_that_could_wrap_is_refused() -> None:
    """600 inputs of weight 127: 600 * 127 * 128 is over 2**23, and Lava would wrap it."""

    def add(builder: GraphBuilder, x: str) -> str:
        (y,) = builder.add("fc", Linear(np.full((1, 600), 127, np.int8)), x)
        return builder.add("lif", neuron(state_bits=48), y)[0]

    with pytest.raises(UnsupportedError, match=r"SL0503 lif: its current could leave 24 bits"):
        loihi2().program(layer(add, 600))


def test_shared_kernels_are_expanded_right() -> None:
    def add(builder: GraphBuilder, x: str) -> str:
        weight = np.arange(1, 10, dtype=np.int8).reshape(1, 1, 3, 3)
        (y,) = builder.add("conv", Conv2d(weight, None, padding=(1, 1)), x)
        return builder.add("lif", neuron(theta=np.full((1, 1, 1, 1), 64), bias=np.zeros((1, 1, 1), int)), y)[
            0
        ]

    builder = GraphBuilder("one", Stage.INTEGER)
    builder.output(add(builder, builder.input("x", Type((1, 3, 3), SPIKES))))
    (synapses,) = loihi2().program(builder.build()).synapses
    centre = slice(synapses.starts[4], synapses.starts[5])
    assert synapses.weights[centre].tolist() == [2 * weight for weight in range(1, 10)]
    assert len(synapses.weights) == 9 + 4 * 6 + 4 * 4
