"""Tiles that trade places: fewer messages within the same limits, in networks without shared weights."""

from __future__ import annotations

import numpy as np
import pytest

from examples.mapping.bench import chip_for
from examples.mapping.networks import CATALOGUE, random_recurrent
from spikeloom.compiler.mapping.check import check_mapping
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.compiler.mapping.tiling import cut, regroup
from spikeloom.compiler.mapping.xorshift import next_number


def test_tiles_that_talk_find_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    load = random_recurrent(2048, seed=3)
    chip = chip_for(load)
    mapping = map_network(load.network, chip, load.rates)
    assert check_mapping(mapping) == []
    assert mapping.tiles == map_network(load.network, chip, load.rates).tiles
    monkeypatch.setattr(cut, "regroup", lambda network, chip, rates, groups: groups)
    before = map_network(load.network, chip, load.rates)
    assert len(mapping.cores) <= len(before.cores)
    assert mapping.load.messages < 0.97 * before.load.messages


def test_messages_of_seats_are_those_of_the_cores() -> None:
    """What the compiled loop counts is what the demand of each core says."""
    load = random_recurrent(2048)
    chip = chip_for(load)
    groups = cut.cut(load.network, chip, load.rates)
    seating = regroup._seated(load.network, chip, load.rates, groups)
    counted = (seating.spikes * ((seating.present > 0).sum(1) - 1)).sum()
    inside = {
        one.name: 0.0 if one.role == "input" else load.rates[one.name] for one in load.network.populations
    }
    assert counted == pytest.approx(sum(group.demand.arriving(inside) for group in groups))
    for tile, core in ((0, 3), (5, 1), (0, 0)):
        counted += regroup._move(seating, tile, core)
        assert counted == pytest.approx((seating.spikes * ((seating.present > 0).sum(1) - 1)).sum())


def test_networks_that_share_weights_are_left_as_they_are() -> None:
    load = CATALOGUE["lenet"]()
    chip = chip_for(load)
    groups = cut.cut(load.network, chip, load.rates)
    assert regroup.regroup(load.network, chip, load.rates, groups) == groups


def test_random_numbers_are_those_of_the_paper() -> None:
    """xorshift64* from 1234567: upper halves of the first five (Rosetta Code), of which ours drop a bit."""
    state = np.array([1234567], np.uint64)
    wanted = 3540625527, 2750739987, 4037983143, 1993361440, 3809424708
    assert [next_number(state) for _ in wanted] == [number >> 1 for number in wanted]
