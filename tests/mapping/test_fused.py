"""Layers that share tiles, and cores that are given up: fewer messages, fewer cores, every limit kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.mapping import measured
from examples.mapping.bench import chip_for
from examples.mapping.builder import Builder
from examples.mapping.networks import CATALOGUE, Workload, random_recurrent
from spikeloom.compiler.mapping.bounds.cores import least_cores
from spikeloom.compiler.mapping.bounds.messages import least_messages
from spikeloom.compiler.mapping.check import check_mapping
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.compiler.mapping.tiling import cut, shapes
from spikeloom.compiler.mapping.tiling.dissolve import dissolve


def _separable(blocks: int) -> Workload:
    """Depthwise and pointwise convolutions in turn, whose kernels fit a core together."""
    net = Builder("separable", (3, 32, 32))
    x = net.neurons("stem", net.conv(net.start, 32))
    for number in range(blocks):
        x = net.neurons(f"dw{number}", net.conv(x, 32, groups=32))
        x = net.neurons(f"pw{number}", net.pointwise(x, 32))
    return Workload(net.readout("head", net.classify(x, 10)), net.rates)


def test_layers_that_share_tiles_send_fewer_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    load = _separable(3)
    chip = chip_for(load)
    fused = map_network(load.network, chip, load.rates)
    assert check_mapping(fused) == []
    monkeypatch.setattr(shapes, "LONGEST", 1)
    apart = map_network(load.network, chip, load.rates)
    assert least_messages(load.network, chip, load.rates) <= fused.load.messages < 0.7 * apart.load.messages
    assert len(fused.cores) <= len(apart.cores)


def test_fused_layers_may_shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stride halves the grid; tiles of both layers still hold each neuron once."""
    net = Builder("strided", (3, 30, 30))
    x = net.neurons("stem", net.conv(net.start, 32))
    x = net.neurons("down", net.conv(x, 32, 3, 2, groups=32))
    x = net.neurons("pw", net.pointwise(x, 16))
    load = Workload(net.readout("head", net.classify(x, 10)), net.rates)
    mapping = map_network(load.network, chip_for(load), load.rates)
    assert check_mapping(mapping) == []
    together = {tile.core for tile in mapping.tiles if tile.population == "down"}
    assert together & {tile.core for tile in mapping.tiles if tile.population == "stem"}


def test_cores_that_hold_little_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    load = random_recurrent(4096)
    chip = chip_for(load)
    few = map_network(load.network, chip, load.rates)
    assert check_mapping(few) == []
    monkeypatch.setattr(cut, "dissolve", lambda network, chip, rates, groups, most: groups)
    many = map_network(load.network, chip, load.rates)
    assert least_cores(load.network, chip).cores <= len(few.cores) < len(many.cores)


def test_nothing_is_given_up_where_nothing_has_room() -> None:
    load = CATALOGUE["lenet"]()
    chip = chip_for(load)
    groups = cut.cut(load.network, chip, load.rates)
    assert dissolve(load.network, chip, load.rates, groups, 0) == groups


def test_measured_rates_are_those_of_the_layers_of_the_same_role() -> None:
    document = json.loads(Path(measured.RATES).read_text(encoding="utf-8"))
    load = CATALOGUE["spikformer-4-256"]()
    assert load.rates["b3.proj"] == document["rates"]["proj"]
    assert load.rates["stem0"] == document["rates"]["stem0"]
    assert 0.7 < load.measured < 1.0
    assert CATALOGUE["alexnet"]().measured == 0.0
