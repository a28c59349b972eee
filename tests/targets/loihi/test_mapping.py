"""Spikformers on Loihi 2's cores."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.check import check_mapping
from spikeloom.compiler.mapping.execute import deliver
from spikeloom.compiler.mapping.network import Network, Population
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.compiler.mapping.placement import Mapping
from spikeloom.compiler.mapping.routing.flows import readers
from spikeloom.compiler.mapping.synapses import expand
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


def test_every_spike_of_a_run_reaches_each_target_exactly_once(tiny: Mapping, tiny_graph: Graph) -> None:
    """Frames through the interpreter; what fires is sent through the routing tables."""
    network = tiny.network
    tables = {one.name: readers(network, tiny.tiles, one.name) for one in network.populations}
    interpreter = Interpreter(tiny_graph)
    interpreter.reset(1)
    shape = tiny_graph.types[tiny_graph.inputs[0]].shape
    sent = set()
    for frame in np.random.default_rng(3).integers(0, 2, (6, 1, *shape), np.uint8):
        values = interpreter.step(frame)
        spikes = {one.name: _fired(network, one, values) for one in network.populations}
        delivered = deliver(tiny, tables, spikes)
        assert delivered.exact
        assert delivered.spikes == sum(int(fired.sum()) for fired in spikes.values())
        sent |= {name for name, fired in spikes.items() if fired.any()}
    assert sent == {one.name for one in network.populations}, "a population that is silent proves nothing"


def _fired(network: Network, population: Population, values: MappingOf[str, Array]) -> NDArray[np.bool_]:
    """Which neurons of a population send in a step; a product does where both of its factors do."""
    if population.role != "product":
        return np.asarray(values[population.name][0] != 0).reshape(population.shape)
    fired = np.ones(population.size, bool)
    for number in network.into(population.name):
        projection = network.projections[number]
        factor = values[projection.source][0].ravel() != 0
        wires = expand(projection, Box.whole(projection.target_sizes))
        reached = np.zeros(population.size, bool)
        reached[wires.target] = factor[wires.source]
        fired &= reached
    return fired.reshape(population.shape)


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
