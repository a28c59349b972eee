"""On random networks that fire, every engine gives the same spikes, output and states: no tolerance."""

from __future__ import annotations

import os

import numpy as np
import pytest

from spikeloom.compiler.graph.op import all_ops
from spikeloom.compiler.graph.printer import to_text
from spikeloom.compiler.graph.verify import verify
from spikeloom.targets.onnx.emitters import FLOAT_ONLY
from tests.engines.agreement import disagreements
from tests.random_networks import RATES, random_network, spikformer

NETWORKS = 40


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_engines_agree_over_two_chunks(seed: int) -> None:
    network = random_network(seed)
    assert disagreements(network.graph, network.frames, cuts=[4]) == []


def test_engines_agree_on_a_small_spikformer() -> None:
    network = spikformer(seed=1, size=16, dim=48, depth=2, heads=3)
    assert disagreements(network.graph, network.frames, cuts=[1]) == []


def test_the_networks_prove_something() -> None:
    """They are sound graphs, fire in every layer, and between them hold every operation."""
    seen: set[str] = set()
    types: set[str] = set()
    for seed in range(NETWORKS):
        network = random_network(seed)
        verify(network.graph)
        seen.update(node.op.name for node in network.graph.nodes)
        types.add(network.frames.dtype.name)
        assert set(network.rates) == {node.name for node in network.graph.neurons()}
        assert all(RATES[0] <= rate <= RATES[1] for rate in network.rates.values())
    assert seen == set(all_ops()) - FLOAT_ONLY
    assert types == {"uint8", "uint16", "uint32"}


def test_the_same_seed_gives_the_same_network() -> None:
    first, second = random_network(3), random_network(3)
    assert to_text(first.graph) == to_text(second.graph)
    assert np.array_equal(first.frames, second.frames)


@pytest.mark.slow
def test_engines_agree_on_many_networks() -> None:
    """SPIKELOOM_NETWORKS sets how many (1000)."""
    count = int(os.environ.get("SPIKELOOM_NETWORKS", "1000"))
    found = {}
    for seed in range(NETWORKS, NETWORKS + count):
        network = random_network(seed, steps=4 + seed % 5, batch=1 + seed % 6)
        if faults := disagreements(network.graph, network.frames, cuts=[1 + seed % 3]):
            found[seed] = faults
    assert found == {}
