"""``spikeloom bench`` without a bundle: networks that fire, figures, and the page made of them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeloom.benchmarks import lava, suite
from spikeloom.benchmarks.bound import Limits
from spikeloom.benchmarks.goals import goals
from spikeloom.benchmarks.networks import (
    RATE,
    TOLERANCE,
    BenchNetwork,
    chip_conv_layer,
    chip_dense_layer,
    dense_layer,
    spikformer,
)
from spikeloom.benchmarks.peers import EAGER, SPIKINGJELLY, differs, neurons
from spikeloom.errors import InputError, InternalError
from spikeloom.runtime.engines.event.engine import EventEngine
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.runtime.session import run_from_reset
from spikeloom.targets.loihi.environment import find_worker

DOCS = Path(__file__).parents[2] / "docs"


def tiny() -> BenchNetwork:
    return spikformer("tiny", 16, 48, 1, 3, 2, (False, False, True, True))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return suite.run_suite({"tiny": tiny}, rounds=3, compiles=False, sizes=(64,))


def test_goals_are_looked_up_in_the_figures() -> None:
    """Ratios of a made-up run: what is not in it is not measured, and a goal knows its side."""

    def row(name: str, seconds: float, peers: dict[str, float]) -> dict[str, Any]:
        ratios = {peer: {"median": other / seconds} for peer, other in peers.items()}
        return {"name": name, "seconds": {"median": seconds}, "times_as_fast_as": ratios, "share_of_bound": 1}

    times = {
        suite.EVENT: 1.0,
        suite.EVENT_STEP: 1.1,
        suite.ONNX: 2.0,
        suite.ONNX_STEP: 4.0,
        SPIKINGJELLY: 13.0,
    }
    entry = {
        "network": "Spikformer-4-384",
        "contenders": [row(name, seconds, times) for name, seconds in times.items()],
        "bound_seconds": 0.5,
        "second_core": {"median": 1.6},
    }
    found = {goal.what.partition(": ")[2]: goal for goal in goals({"networks": [entry], "layers": []})}
    best = found["the best engine over SpikingJelly"]
    assert (best.found, best.bound, best.reached) == (13.0, 26.0, True)
    assert found["event step by step, over all steps at once"].reached is True
    assert found["onnx step by step, over all steps at once"].reached is False
    assert found["two workers over one, by the clock"].reached is False
    assert found["onnx over torch.compile"].reached is None


def test_every_layer_fires_at_the_rate() -> None:
    network = tiny()
    assert len(network.rates) == len(list(network.graph.neurons())) == 12
    assert all(abs(rate - RATE) <= TOLERANCE for rate in network.rates.values())
    trace = run_from_reset(ReferenceEngine(network.graph), network.frames)
    assert {name: float(s.mean()) for name, s in trace.spikes.items()} == pytest.approx(network.rates)


def test_a_network_that_does_not_fire_is_refused() -> None:
    with pytest.raises(InternalError, match="SL0804"):
        dense_layer(64, rate=0.0)


def test_work_is_counted_as_by_hand() -> None:
    network = dense_layer(64)
    assert (network.products, network.updates, network.weights) == (8 * 64 * 64, 8 * 64, 64 * 64)
    assert Limits(1e6, 1e12, 1e-6).of(network) == pytest.approx(8 * 64 * 64 / 1e6 + 8 * 64 * 1e-6)
    assert Limits(1e12, 1e6, 0.0).of(network) == pytest.approx(64 * 64 / 1e6)


def test_the_figures_name_peers_and_bound(document: dict[str, Any]) -> None:
    (network,) = document["networks"]
    names = {row["name"] for row in network["contenders"]}
    assert names >= {suite.EVENT, suite.ONNX, suite.ORT_FLOAT, SPIKINGJELLY, EAGER}
    for row in network["contenders"]:
        times = row["seconds"]
        assert 0 < times["min"] <= times["median"] <= times["max"]
        assert row["share_of_bound"] == pytest.approx(network["bound_seconds"] / times["median"])
    assert network["outputs"][suite.ONNX] == 0
    assert network["outputs"][EAGER] < 0.5


def test_throughput_takes_the_best_batch(document: dict[str, Any]) -> None:
    found = document["networks"][0]["throughput"]
    assert set(found["contenders"]) >= {suite.EVENT, suite.ORT_FLOAT, SPIKINGJELLY, EAGER}
    assert all(row["samples_a_second"] > 0 for row in found["contenders"].values())
    assert found["contenders"][suite.ORT_FLOAT]["batch"] == 1


def test_a_peer_with_other_neurons_is_found_out() -> None:
    assert not any(differs(make) for make in neurons().values())
    half = neurons()[EAGER]
    assert differs(lambda level: half(level / 2))


def test_lava_gives_the_spikes_of_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        find_worker()
    except InputError as error:
        pytest.skip(str(error))
    layers = (partial(chip_dense_layer, 64, 20), partial(chip_conv_layer, 6, 4, 10))
    monkeypatch.setattr(lava, "LAYERS", layers)
    rows = lava.against_lava(1)
    assert [row["steps"] for row in rows] == [20, 10]
    assert all(abs(row["rate"] - RATE) <= TOLERANCE for row in rows)


@pytest.mark.parametrize("make", [tiny, partial(dense_layer, 64)])
def test_float_peers_compute_the_same_network(make: Callable[[], BenchNetwork]) -> None:
    """With thresholds that no potential meets by a hair, floats and integers give the same spikes."""
    from spikeloom.benchmarks.float_onnx import float_session
    from spikeloom.benchmarks.peers import torch_peers

    network = make()
    wanted = run_from_reset(EventEngine(network.graph), network.frames[:1]).output
    single = BenchNetwork(network.name, network.graph, network.frames[:1], network.rates)
    for name, run in {**torch_peers(single, compiles=False), "onnx": float_session(single)}.items():
        got = np.asarray(run(single.frames)).reshape(wanted.shape)
        assert np.abs(got - wanted).mean() < 0.02 * np.abs(wanted).mean(), name


@pytest.fixture(scope="module")
def render() -> Any:
    """The script that writes the page."""
    spec = importlib.util.spec_from_file_location("render_benchmarks", DOCS / "render_benchmarks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_its_figures(render: Any) -> None:
    figures = json.loads((DOCS / "benchmarks.json").read_text(encoding="utf-8"))
    assert (DOCS / "benchmarks.md").read_text(encoding="utf-8") == render.page(figures)


def test_the_page_holds_every_contender(document: dict[str, Any], render: Any) -> None:
    page = render.page(document)
    assert all(goal.what in page for goal in goals(document))
    for entry in (*document["networks"], *document["layers"]):
        for row in entry["contenders"]:
            assert f"| {row['name']} |" in page
