"""A network on which two engines differ: the first difference with its membranes, and a smaller network."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.op import all_ops
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.runtime.divergence import explain, first_difference
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.runtime.failures import open_anew, read_failure, write_failure, write_test
from spikeloom.runtime.reduce import Reducer
from spikeloom.runtime.session import run_from_reset
from spikeloom.targets.onnx.emitters import FLOAT_ONLY
from tests import fuzz_engines
from tests.random_networks import RandomNetwork, random_network


@pytest.fixture(scope="module")
def network() -> RandomNetwork:
    return random_network(3)


def leaky(graph: Graph) -> Graph:
    """The graph with another decay in each neuron that leaks by one half."""
    return graph.replace(
        nodes=tuple(
            replace(node, op=replace(node.op, decay=node.op.decay - 600))
            if isinstance(node.op, IntegerNeuron) and node.op.decay > 600
            else node
            for node in graph.nodes
        )
    )


def inverted(graph: Graph) -> Graph:
    """The graph with the weights of every linear map negated."""
    nodes = []
    for node in graph.nodes:
        op = node.op
        nodes.append(replace(node, op=replace(op, weight=-op.weight)) if isinstance(op, Linear) else node)
    return graph.replace(nodes=tuple(nodes))


def faulty(graph: Graph) -> Engine:
    return ReferenceEngine(inverted(graph))


def test_the_first_difference_is_explained(network: RandomNetwork) -> None:
    graph, frames = network.graph, network.frames
    engines = {"right": ReferenceEngine(graph), "wrong": ReferenceEngine(leaky(graph))}
    wanted, got = (run_from_reset(engine, frames) for engine in engines.values())
    place = first_difference(graph, wanted, got)
    assert place is not None
    earlier = [(wanted.spikes[name] != got.spikes[name])[: place.step].any() for name in wanted.spikes]
    assert not any(earlier)
    found = explain(graph, engines, frames, place)
    assert set(found.membranes) == {"right", "wrong"}
    right, wrong = found.membranes["right"], found.membranes["wrong"]
    assert right.potential - right.margin in found.thresholds
    assert abs(right.margin) == min(abs(right.potential - theta) for theta in found.thresholds)
    assert (place.wanted > 0) == (right.margin > 0 or right.potential > min(found.thresholds))
    assert right.after != wrong.after


def test_equal_engines_have_no_difference(network: RandomNetwork) -> None:
    traces = [run_from_reset(ReferenceEngine(network.graph), network.frames) for _ in range(2)]
    assert first_difference(network.graph, *traces) is None


def test_a_failure_shrinks_to_what_is_wrong(network: RandomNetwork) -> None:
    reducer = Reducer(ReferenceEngine, faulty, trials=400)
    failure = reducer.failure(network.graph, network.frames)
    assert failure is not None
    small = reducer.reduce(failure)
    assert any(isinstance(node.op, Linear) for node in small.graph.nodes)
    assert len(small.graph.nodes) <= 3 < len(network.graph.nodes)
    assert small.frames.shape[1] == 1
    assert small.size[1] < failure.size[1] / 4
    assert small.size[2] < failure.size[2] / 4
    assert reducer.failure(small.graph, small.frames) is not None


def test_the_written_test_runs_the_network(network: RandomNetwork, tmp_path: Path) -> None:
    write_failure(tmp_path / "case.loom", network.graph, network.frames)
    graph, frames = read_failure(tmp_path / "case.loom")
    assert np.array_equal(frames, network.frames)
    assert len(graph.nodes) == len(network.graph.nodes)
    script = write_test(tmp_path, "case", ("reference", "event"), "layer lif")
    runpy.run_path(str(script))["test_case"]()


def test_every_engine_opens_anew(network: RandomNetwork) -> None:
    for name in ("reference", "onnx", "event"):
        assert open_anew(name, network.graph).name == name


def test_a_fuzz_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def run(seed: int, folder: Path) -> fuzz_engines.Outcome:
        seen.append(seed)
        return fuzz_engines.Outcome(seed, [], [])

    monkeypatch.setattr(fuzz_engines, "run", run)
    log = tmp_path / "log.jsonl"
    fuzz_engines.main(["--seed", "5", "--count", "3", "--log", str(log)])
    log.write_text(log.read_text()[:-4])  # killed in the middle of a line
    assert fuzz_engines.main(["--seed", "5", "--count", "4", "--log", str(log)]) == 0
    assert seen == [5, 6, 7, 7, 8]


def test_a_fuzz_run_stops_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz_engines, "run", lambda seed, folder: fuzz_engines.Outcome(seed, [], ["add"]))
    fuzz_engines.main(["--count", "1000", "--seconds", "1e-9", "--log", str(tmp_path / "log.jsonl")])
    assert capsys.readouterr().out.startswith("1 of 1,000 networks with 1 operations in 0 s")


def test_a_fuzz_run_keeps_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_engines, "disagreements", lambda graph, frames, cuts, forms: ["differs"])
    log = tmp_path / "log.jsonl"
    assert fuzz_engines.main(["--count", "1", "--log", str(log)]) == 3
    assert json.loads(log.read_text()) == {"seed": 0, "faults": ["differs"]}
    assert (tmp_path / "failures/seed0.loom").exists()


def test_small_networks_hold_every_operation_between_them() -> None:
    seen: set[str] = set()
    for seed in range(1, 150):
        seen.update(node.op.name for node in fuzz_engines.network_of(seed).graph.nodes)
    assert seen == set(all_ops()) - FLOAT_ONLY
