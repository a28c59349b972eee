"""Spikformers on Loihi 2's cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.mapping.check import check_mapping
from spikeloom.compiler.mapping.execute import deliver
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.compiler.mapping.placement import Mapping
from spikeloom.compiler.mapping.route import readers
from spikeloom.errors import UnsupportedError
from spikeloom.targets.loihi import loihi2


@pytest.fixture(scope="module")
def tiny(tiny_graph: Graph) -> Mapping:
    target = loihi2()
    return map_network(target.lower(tiny_graph), target.chip())


def test_the_tiny_spikformer_fits_one_chip(tiny: Mapping) -> None:
    assert check_mapping(tiny) == []
    assert tiny.chips == 1
    assert tiny.bound.cores <= len(tiny.cores) <= 1.25 * tiny.bound.cores


def test_heads_stay_together(tiny: Mapping) -> None:
    for name in ("block0.kv.products", "block0.qkv_product.products"):
        for head in tiny.cores_of(name):
            assert len(np.unique(head)) == 1


def test_every_neuron_layer_has_cores(tiny: Mapping, tiny_graph: Graph) -> None:
    for node in tiny_graph.neurons():
        cores = tiny.cores_of(node.name)
        assert cores.shape == tiny_graph.types[node.output].shape
        assert cores.min() >= 0
        assert cores.max() < len(tiny.cores)


def test_random_spikes_reach_each_target_exactly_once(tiny: Mapping) -> None:
    """Messages go to the cores that read a neuron; there they meet the core's own synapses."""
    random = np.random.default_rng(0)
    network = tiny.network
    tables = {one.name: readers(network, tiny.tiles, one.name) for one in network.populations}
    spikes = {one.name: random.random(one.shape) < 0.2 for one in network.populations}
    delivered = deliver(tiny, tables, spikes)
    assert delivered.exact
    assert delivered.messages > 0
    assert delivered.spikes > 0


def test_wider_weights_take_more_cores(spikformer: Callable[..., Graph]) -> None:
    """A layer of 256 channels by 3 x 3 taps fills the synaptic memory before a core has its neurons."""
    graph = spikformer(image=(2, 8, 8), pools=(True, False), dim=256, heads=4, blocks=0, thresholds=1)
    target = loihi2()
    network = target.lower(graph)
    cores = {}
    for bits in (4, 8):
        kernels = tuple(replace(kernel, bits=bits) for kernel in network.kernels)
        mapping = map_network(replace(network, kernels=kernels), target.chip())
        assert check_mapping(mapping) == []
        cores[bits] = len(mapping.cores)
    assert mapping.bound.limit == "synaptic_memory"
    assert cores[4] < cores[8]


def test_a_network_for_several_chips(spikformer: Callable[..., Graph]) -> None:
    graph = spikformer(image=(3, 16, 16), pools=(False, True), dim=128, heads=4)
    target = loihi2()
    network = target.lower(graph)
    with pytest.raises(UnsupportedError) as caught:
        map_network(network, target.chip())
    assert "try --chips 2 (kapoho_point has 8)" in caught.value.problems[0].remedy
    mapping = map_network(network, target.chip().with_chips(2))
    assert check_mapping(mapping) == []
    assert mapping.chips == 2
    assert 0 < mapping.load.crossings < mapping.load.messages
