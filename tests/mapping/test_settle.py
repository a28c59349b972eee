"""Tiles that move between cores with places: exact counts of loads and limits, fewer hops in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from examples.mapping.bench import chip_for
from examples.mapping.networks import Workload, large_spikformer
from spikeloom.compiler.mapping import partition
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.check import check_mapping
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.execute import deliver
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.compiler.mapping.routing.flows import readers
from spikeloom.compiler.mapping.settling import settle as settling
from spikeloom.compiler.mapping.settling.atoms import atoms_of
from spikeloom.compiler.mapping.settling.seats import Seats, seats_of, total_loads
from spikeloom.compiler.mapping.settling.trade import _carry, _judge, _sit, _store
from spikeloom.compiler.mapping.tiling.cut import cut
from spikeloom.compiler.mapping.tiling.pack import Group
from spikeloom.compiler.mapping.tiling.shapes import needed_by

Toy = Callable[..., Chip]
Networks = Callable[[int], Network]


@pytest.fixture(scope="module")
def load() -> Workload:
    """Some 14 cores of a small Spikformer."""
    return large_spikformer(1e5)


def _without_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "settle", lambda net, chip, rates, groups, slots, seed: (groups, slots))


@pytest.mark.parametrize("seed", range(4))
def test_atoms_are_those_of_single_indices(seed: int) -> None:
    """Drawn boxes on 8 x 8, marked index by index."""
    random = np.random.default_rng(seed)
    boxes = []
    for member in range(5):
        (a, b), (c, d) = (sorted(random.choice(9, 2, replace=False).tolist()) for _ in range(2))
        boxes.append((member, Box(((a, b), (c, d)))))
    holders = [(0, Box(((0, 4), (0, 8)))), (1, Box(((4, 7), (0, 8))))]
    marks = np.zeros((2, 5, 8, 8), bool)
    for (member, box), (holder, own) in ((one, two) for one in boxes for two in holders):
        shared = box.overlap(own)
        if shared is not None:
            marks[holder, member][shared.slices] = True
    wanted: Counter[tuple[int, tuple[int, ...]]] = Counter()
    for holder in range(2):
        for index in np.ndindex(8, 8):
            members = tuple(np.flatnonzero(marks[(holder, slice(None), *index)]).tolist())
            if members:
                wanted[holder, members] += 1
    atoms = atoms_of(boxes, holders)
    found = {
        (holder, tuple(sorted(atoms.member[atoms.atom == number].tolist()))): size
        for number, (holder, size) in enumerate(zip(atoms.holder.tolist(), atoms.sizes.tolist(), strict=True))
    }
    assert found == wanted


@pytest.mark.parametrize("seed", range(6))
def test_seats_count_what_the_demands_of_cores_say(seed: int, toy: Toy, random_network: Networks) -> None:
    """Uses of all limits and messages, at the start and after tiles were carried about."""
    network, chip = random_network(seed), toy()
    random = np.random.default_rng(seed)
    rates = {one.name: float(random.random()) for one in network.populations}
    groups = cut(network, chip, rates)
    seats = _seated(network, chip, rates, groups)
    pieces = [piece for group in groups for piece in group.pieces]
    _assert_as_demanded(seats, network, chip, rates, groups)
    messages, hops = total_loads(seats)
    for _ in range(20):
        tile, core = int(random.integers(len(pieces))), int(random.integers(len(groups)))
        here = int(seats.core_of[tile])
        if core == here or seats.seats[here] == 1:
            continue
        judged = _judge(seats, tile, core, 1.0, 0.25)
        assert _carry(seats, tile, core, 1.0, 0.25) == pytest.approx(judged)
        _store(seats, tile, here, core)
        _sit(seats, tile, here, core)
        after = total_loads(seats)
        assert after[0] - messages + 0.25 * (after[1] - hops) == pytest.approx(judged)
        messages, hops = after
    moved = [[pieces[tile] for tile in np.flatnonzero(seats.core_of == core)] for core in range(len(groups))]
    now = [Group(tuple(own), needed_by(own)) for own in moved]
    _assert_as_demanded(seats, network, chip, rates, now)


def _seated(network: Network, chip: Chip, rates: dict[str, float], groups: list[Group]) -> Seats:
    core_of = np.repeat(np.arange(len(groups)), [len(group.pieces) for group in groups])
    seats = seats_of(network, chip, rates, [piece for group in groups for piece in group.pieces], core_of)
    seats.column[:], seats.row[:] = np.arange(len(groups)) % 4, np.arange(len(groups)) // 4
    return seats


def _assert_as_demanded(
    seats: Seats, network: Network, chip: Chip, rates: dict[str, float], groups: list[Group]
) -> None:
    names = [limit.name for limit in chip.limits]
    used = seats.used.copy()
    used[:, names.index("core_memory")] //= 8
    assert used.tolist() == [list(group.demand.uses(network, chip).values()) for group in groups]
    inside = {one.name: 0.0 if one.role == "input" else rates[one.name] for one in network.populations}
    wanted = sum(group.demand.arriving(inside) for group in groups)
    assert total_loads(seats)[0] == pytest.approx(wanted)


def test_hops_times_messages_fall_on_the_same_cores(load: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = chip_for(load)
    mapping = map_network(load.network, chip, load.rates)
    assert check_mapping(mapping) == []
    assert mapping.tiles == map_network(load.network, chip, load.rates).tiles
    random = np.random.default_rng(0)
    spikes = {one.name: random.random(one.shape) < 0.2 for one in load.network.populations}
    tables = {one.name: readers(load.network, mapping.tiles, one.name) for one in load.network.populations}
    assert deliver(mapping, tables, spikes).exact
    _without_settling(monkeypatch)
    before = map_network(load.network, chip, load.rates)
    assert len(mapping.cores) == len(before.cores)
    assert mapping.load.messages * mapping.load.hops < 0.97 * before.load.messages * before.load.hops


@pytest.mark.parametrize("seed", range(4))
def test_crowded_cores_keep_every_limit(seed: int, toy: Toy, random_network: Networks) -> None:
    network = random_network(seed)
    mapping = map_network(network, toy(neurons=40))
    assert check_mapping(mapping) == []


def test_tiles_whose_moves_cost_too_much_stay(load: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "VISITS", 1)
    chip = chip_for(load)
    mapped = map_network(load.network, chip, load.rates)
    _without_settling(monkeypatch)
    assert map_network(load.network, chip, load.rates) == mapped


def test_large_mappings_are_left_as_they_are(load: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "MOST_CORES", 5)
    chip = chip_for(load)
    mapping = map_network(load.network, chip, load.rates)
    _without_settling(monkeypatch)
    assert mapping == map_network(load.network, chip, load.rates)
