"""The networks whose core tables Intel's own compiler printed, mapped onto Loihi 2's cores by ours.

The tables are in lava-dl's notebooks (@ d825ac5, tutorials/lava/lib/dl/netx); limits and encoding of
``loihi2.toml`` were read from them. Inputs occupy cores there, so here each is a population that
relays them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from examples.mapping.builder import Builder, Terms
from examples.mapping.networks import Workload
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.mapping.check import check_mapping
from spikeloom.compiler.mapping.demand import tile_demand
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.targets.loihi import loihi2


@dataclass(frozen=True)
class Layer:
    """A layer on cores, ours beside theirs.

    Attributes:
        name: of the layer, as the table has it.
        theirs: cores that Intel's compiler gave it.
        their_neurons, their_words: neurons and words of synaptic memory on one of them.
        ours: cores that hold some of it; layers may share a core.
        worth: cores that it fills by itself: of each tile the share of the limit that it uses most.
        our_neurons, our_words: of its largest tile.
        limit: that this tile uses most, and ``full`` its share.
    """

    name: str
    theirs: int
    their_neurons: int
    their_words: int
    ours: int
    worth: float
    our_neurons: int
    our_words: int
    limit: str
    full: float


@dataclass(frozen=True)
class Comparison:
    """A network: cores of both, the provable bound, and whether ours keep every limit."""

    network: str
    theirs: int
    ours: int
    least: int
    keeps_limits: bool
    layers: tuple[Layer, ...]


def pilotnet() -> Workload:
    """PilotNet with LIF neurons, 200 x 66 x 3."""
    net = Builder("pilotnet_lif", (3, 200, 66))
    x = net.neurons("input 200x66x3 tile(16,66,3)", net.start)
    plan = (
        ("conv1 99x32x24 tile(4,32,24)", 24, (2, 2), (0, 0)),
        ("conv2 49x15x36 tile(4,15,36)", 36, (2, 2), (0, 0)),
        ("conv3 24x7x48 tile(8,7,48)", 48, (2, 2), (0, 0)),
        ("conv4 22x4x64 tile(8,4,64)", 64, (1, 2), (0, 1)),
        ("conv5 20x2x64 tile(16,2,64)", 64, (1, 1), (0, 0)),
    )
    for name, channels, stride, padding in plan:
        x = net.neurons(name, _convolved(net, x, channels, stride, padding))
    for name, outputs in (("fc 2560->100", 100), ("fc 100->50", 50), ("fc 50->10", 10)):
        x = net.neurons(name, net.dense(x, outputs))
    return Workload(net.readout("fc 10->1", net.dense(x, 1)), net.rates)


def _convolved(
    net: Builder, x: Terms, channels: int, stride: tuple[int, int], padding: tuple[int, int]
) -> Terms:
    weight = np.broadcast_to(np.int8(1), (channels, x[0].shape[0], 3, 3))
    return net.apply(x, Conv2d(weight, None, stride, padding, (1, 1), 1))


def perceptron(name: str, sizes: tuple[int, ...], layers: tuple[str, ...]) -> Workload:
    """Dense layers, by the names that the table gives them."""
    net = Builder(name, (sizes[0],))
    x = net.start
    for layer, outputs in zip(layers[:-1], sizes[1:-1], strict=True):
        x = net.neurons(layer, net.dense(x, outputs))
    return Workload(net.readout(layers[-1], net.dense(x, sizes[-1])), net.rates)


NETWORKS: Mapping[str, Workload] = {
    "pilotnet_lif": pilotnet(),
    "oxford": perceptron("oxford", (200, 256, 200), ("200->256", "256->200")),
    "mnist_mlp": perceptron("mnist_mlp", (784, 128, 64, 10), ("784->128", "128->64", "64->10")),
}


def compare(table: Path) -> list[Comparison]:
    """Every network of which the table has all layers, on one Loihi 2.

    Args:
        table: ``partition_tables.csv`` of the conformance data.
    """
    theirs: dict[str, dict[str, Mapping[str, str]]] = {}
    for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines()):
        theirs.setdefault(row["net"], {})[row["layer"]] = row
    return [_compared(name, load, theirs[name]) for name, load in NETWORKS.items()]


def _compared(name: str, load: Workload, theirs: Mapping[str, Mapping[str, str]]) -> Comparison:
    mapping = map_network(load.network, loihi2().chip(), load.rates)
    layers = tuple(_layer(mapping, row) for row in theirs.values())
    total = sum(layer.theirs for layer in layers)
    keeps = not check_mapping(mapping)
    return Comparison(name, total, len(mapping.cores), mapping.bound.cores, keeps, layers)


def _layer(mapping: ChipMapping, row: Mapping[str, str]) -> Layer:
    network, chip = mapping.network, mapping.chip
    population = network.population(row["layer"])
    tiles = [tile for tile in mapping.tiles if tile.population == population.name]
    uses = [tile_demand(network, population, tile.box).uses(network, chip) for tile in tiles]
    shares = [{one.name: use[one.name] / one.value for one in chip.limits} for use in uses]
    fullest = max(range(len(tiles)), key=lambda number: max(shares[number].values()))
    limit = max(shares[fullest], key=lambda key: shares[fullest][key])
    return Layer(
        row["layer"],
        int(row["cores"]),
        int(row["neurons_per_core"]),
        int(row["synmem_per_core"]),
        len({tile.core for tile in tiles}),
        sum(max(share.values()) for share in shares),
        uses[fullest]["neurons"],
        uses[fullest]["synaptic_memory"],
        limit,
        shares[fullest][limit],
    )
