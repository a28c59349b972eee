"""Mappings of random networks on a crowded chip: inside every limit, complete, executable."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from examples.mapping.builder import Builder
from spikeloom.compiler.mapping.bounds.cores import least_cores
from spikeloom.compiler.mapping.bounds.messages import least_messages
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.check import check_mapping
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.execute import deliver
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.compiler.mapping.placement import Mapping, Tile
from spikeloom.compiler.mapping.routing.flows import all_flows, demands, readers
from spikeloom.compiler.mapping.synapses import expand
from spikeloom.errors import InputError, UnsupportedError

Toy = Callable[..., Chip]
Networks = Callable[[int], Network]
SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_core_keeps_every_limit(seed: int, toy: Toy, random_network: Networks) -> None:
    mapping = map_network(random_network(seed), toy())
    assert check_mapping(mapping) == []
    assert len(mapping.cores) > 4
    assert mapping.bound.cores <= len(mapping.cores)


def test_terms_of_a_sum_split_a_kernel_otherwise(toy: Toy) -> None:
    """An image and a row of neurons, added and read by one dense layer: [2, 2, 2] and [2, 4]."""
    net = Builder("sum", (1, 2, 2))
    image = net.neurons("image", net.pointwise(net.start, 1))
    row = net.neurons("row", net.dense(net.start, 4))
    network = net.readout("out", net.dense((image[0].reshape((4,)), *row), 2))
    mapping = map_network(network, toy(neurons=4))
    assert check_mapping(mapping) == []
    rates = {**net.rates, "out": 0.0}
    assert least_messages(network, toy(neurons=4), rates) <= mapping.load.messages


def test_more_than_one_limit_binds(toy: Toy, random_network: Networks) -> None:
    """Else the tests above would prove little."""
    binding = set()
    for seed in SEEDS:
        mapping = map_network(random_network(seed), toy())
        binding |= {mapping.binding_limit(core)[0] for core in range(len(mapping.cores))}
    assert {"neurons", "neuron_groups", "synaptic_memory", "axons_in"} <= binding


@pytest.mark.parametrize("seed", SEEDS)
def test_a_spike_reaches_each_target_exactly_once(seed: int, toy: Toy, random_network: Networks) -> None:
    """Every neuron fires; messages go to the cores that read it, and each core has its synapses."""
    network = random_network(seed)
    mapping = map_network(network, toy())
    for number, projection in enumerate(network.projections):
        source, target = network.population(projection.source), network.population(projection.target)
        everything = expand(projection, Box.whole(projection.target_sizes))
        wanted = np.zeros((source.size, target.size), int)
        np.add.at(wanted, (everything.source, everything.target), 1)
        assert wanted.max() == 1
        arrived = np.zeros_like(wanted)
        for core, boxes in readers(network, mapping.tiles, source.name).items():
            messages = np.zeros(source.shape, int)
            for box in boxes:
                messages[box.slices] += 1
            assert messages.max() == 1, "a core gets two messages of one spike"
            for tile in mapping.tiles:
                if tile.core == core and tile.population == target.name:
                    for piece in projection.target_pieces(tile.box):
                        found = expand(projection, piece)
                        np.add.at(arrived, (found.source, found.target), messages.ravel()[found.source])
        assert (arrived == wanted).all(), number


@pytest.mark.parametrize("seed", SEEDS)
def test_execution_delivers_each_spike_once(seed: int, toy: Toy, random_network: Networks) -> None:
    network = random_network(seed)
    mapping = map_network(network, toy())
    random = np.random.default_rng(seed)
    tables = {one.name: readers(network, mapping.tiles, one.name) for one in network.populations}
    spikes = {one.name: random.random(one.shape) < 0.5 for one in network.populations}
    delivered = deliver(mapping, tables, spikes)
    assert delivered.exact
    assert delivered.spikes > 100
    everyone = {one.name: np.ones(one.shape, bool) for one in network.populations}
    assert deliver(mapping, tables, everyone).messages == sum(one.messages for one in mapping.traffic)


def test_execution_finds_what_is_lost_and_doubled(toy: Toy, random_network: Networks) -> None:
    network = random_network(0)
    mapping = map_network(network, toy())
    spikes = {one.name: np.ones(one.shape, bool) for one in network.populations}
    tables = {one.name: readers(network, mapping.tiles, one.name) for one in network.populations}
    core, boxes = next(iter(tables["a"].items()))
    lost = deliver(mapping, {**tables, "a": {**tables["a"], core: boxes[1:]}}, spikes)
    assert lost.missed > 0
    assert lost.doubled == 0
    doubled = deliver(mapping, {**tables, "a": {**tables["a"], core: (*boxes, boxes[0])}}, spikes)
    assert doubled.doubled == boxes[0].size
    assert doubled.missed == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_flows_count_what_cores_read(seed: int, toy: Toy, random_network: Networks) -> None:
    network = random_network(seed)
    mapping = map_network(network, toy())
    flows = all_flows(network, demands(network, mapping.tiles, len(mapping.cores)))
    found = {
        (int(p), int(s), int(t)): int(n)
        for p, s, t, n in zip(flows.population, flows.source, flows.target, flows.neurons, strict=True)
    }
    expected: dict[tuple[int, int, int], int] = {}
    for number, population in enumerate(network.populations):
        cores = mapping.cores_of(population.name)
        for target, boxes in readers(network, mapping.tiles, population.name).items():
            read = np.zeros(population.shape, bool)
            for box in boxes:
                read[box.slices] = True
            for source, count in zip(*np.unique(cores[read], return_counts=True), strict=True):
                expected[number, int(source), target] = int(count)
    assert found == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_traffic_adds_up(seed: int, toy: Toy, random_network: Networks) -> None:
    network = random_network(seed)
    mapping = map_network(network, toy())
    rates = dict.fromkeys((population.name for population in network.populations), 1.0)
    assert mapping.messages(rates) == pytest.approx(mapping.load.messages)
    assert mapping.hops(rates) == pytest.approx(mapping.load.hops)
    assert mapping.injected(rates) == pytest.approx(mapping.load.injected)
    assert mapping.load.busiest_link > 0
    assert mapping.load.messages >= least_messages(network, toy(), rates)


def test_same_arguments_same_mapping_other_seed_same_number_of_cores(
    toy: Toy, random_network: Networks
) -> None:
    network = random_network(3)
    first, again, other = (map_network(network, toy(), seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert len(other.cores) == len(first.cores)
    assert check_mapping(other) == []


def test_more_cores_save_messages(toy: Toy, random_network: Networks) -> None:
    """Over some networks; where the cores that were asked for cannot be reached, a few more are taken."""
    few = [map_network(random_network(seed), toy()) for seed in SEEDS]
    more = [map_network(random_network(seed), toy(), slack=1.6) for seed in SEEDS]
    for mapping in more:
        assert check_mapping(mapping) == []
        assert len(mapping.cores) <= 1.7 * mapping.bound.cores
    assert sum(one.load.messages for one in more) < sum(one.load.messages for one in few)


def test_activity_moves_cores(toy: Toy, random_network: Networks) -> None:
    network = random_network(0)
    quiet = dict.fromkeys((population.name for population in network.populations), 0.01)
    loud = map_network(network, toy(), quiet | {"products": 1.0})
    assert loud.load.messages < map_network(network, toy()).load.messages
    assert check_mapping(loud) == []


def test_placement_saves_hops(toy: Toy, random_network: Networks) -> None:
    """Against the same tiles on the slots in order."""
    in_order = 0
    mappings = [map_network(random_network(seed), toy()) for seed in SEEDS]
    for mapping in mappings:
        flows = all_flows(mapping.network, demands(mapping.network, mapping.tiles, len(mapping.cores)))
        inside = flows.source >= 0
        places = np.array([mapping.chip.position(slot)[1:] for slot in range(len(mapping.cores))])
        apart = np.abs(places[flows.source[inside]] - places[flows.target[inside]]).sum(1)
        in_order += int((apart * flows.neurons[inside]).sum())
    assert sum(mapping.load.hops for mapping in mappings) < 0.7 * in_order


def test_mapping_survives_json(toy: Toy, random_network: Networks) -> None:
    mapping = map_network(random_network(1), toy().with_chips(2), seed=5)
    document, network = (json.loads(json.dumps(part.to_json())) for part in (mapping, mapping.network))
    assert Mapping.from_json(document, network) == mapping
    with pytest.raises(InputError, match="SL0703"):
        Mapping.from_json({**document, "tiles": 3}, network)
    with pytest.raises(InputError, match="SL0703"):
        Mapping.from_json(document, {**network, "populations": [{"name": "x"}]})


def test_cores_of_a_population(toy: Toy, random_network: Networks) -> None:
    mapping = map_network(random_network(1), toy())
    cores = mapping.cores_of("q")
    assert cores.dtype == np.int32
    assert cores.shape == mapping.network.population("q").shape
    assert cores.min() >= 0
    assert (mapping.cores_of("input") == -1).all()


def test_a_head_stays_on_one_core_where_it_fits(toy: Toy, random_network: Networks) -> None:
    network = random_network(0)
    head = np.prod(network.population("products").shape[1:])
    roomy = map_network(network, toy(neurons=int(head) + 9, core_memory=9000, axons_in=900, axons_out=0))
    cores = roomy.cores_of("products")
    assert all(len(np.unique(part)) == 1 for part in cores)
    assert check_mapping(roomy) == []


def test_a_network_that_is_too_big_says_what_would_do(toy: Toy, random_network: Networks) -> None:
    with pytest.raises(UnsupportedError) as caught:
        map_network(random_network(0), toy(neurons=8, core_memory=150, synaptic_memory=0))
    problems = caught.value.problems
    assert {problem.code for problem in problems} == {"SL0603"}
    assert "try --chips" in problems[0].remedy
    assert ["neurons alone" in problem.what for problem in problems[1:]].count(True) == 1
    with pytest.raises(UnsupportedError) as caught:
        map_network(random_network(0), toy(neurons=8))
    problems = caught.value.problems
    chips = int(problems[0].remedy.split()[2])
    assert len(map_network(random_network(0), toy(neurons=8).with_chips(chips)).cores) <= 30 * chips
    with pytest.raises(UnsupportedError):
        map_network(random_network(0), toy(neurons=8).with_chips(chips - 1))


def test_every_limit_that_a_single_neuron_exceeds_is_listed(toy: Toy, random_network: Networks) -> None:
    with pytest.raises(UnsupportedError) as caught:
        map_network(random_network(0), toy(synaptic_memory=20, axons_in=5, fan_in=20))
    listed = {(problem.where, problem.what.split(": ")[1]) for problem in caught.value.problems}
    assert listed == {
        ("a", "axons_in"),
        ("b", "axons_in"),
        ("c", "axons_in"),
        ("c", "fan_in"),
        ("c", "synaptic_memory"),
        ("sums", "axons_in"),
    }
    assert all(problem.wanted and problem.got and problem.remedy for problem in caught.value.problems)


def test_a_limit_that_the_chip_does_not_declare_is_none(toy: Toy, random_network: Networks) -> None:
    network = random_network(0)
    free = map_network(network, toy(synaptic_memory=0, core_memory=0, axons_in=0, neuron_groups=0))
    assert set(free.cores[0].uses) == {"neurons", "axons_out"}
    assert len(free.cores) <= len(map_network(network, toy()).cores)
    assert check_mapping(free) == []


def spoil(mapping: Mapping, number: int, **changes: object) -> Mapping:
    tiles = list(mapping.tiles)
    tiles[number] = replace(tiles[number], **changes)  # type: ignore[arg-type]
    return replace(mapping, tiles=tuple(tiles))


def test_the_checker_finds_what_is_wrong(toy: Toy, random_network: Networks) -> None:
    mapping = map_network(random_network(2), toy())
    crowded = mapping
    for number in range(len(mapping.tiles)):
        crowded = spoil(crowded, number, core=0)
    exceeded = [
        p.what for p in check_mapping(crowded) if p.where == "core 0" and p.what.startswith("exceeds")
    ]
    assert len(exceeded) == len(mapping.chip.limits)
    wide = next(number for number, tile in enumerate(mapping.tiles) if tile.box.shape[0] > 1)
    box = mapping.tiles[wide].box
    smaller = Box(((box.ranges[0][0], box.ranges[0][1] - 1), *box.ranges[1:]))
    assert "not on exactly one core" in str(check_mapping(spoil(mapping, wide, box=smaller))[0])
    twice = replace(mapping, tiles=(*mapping.tiles, mapping.tiles[0]))
    assert "not on exactly one core" in str(check_mapping(twice)[0])
    away = replace(mapping, tiles=(*mapping.tiles, Tile(mapping.tiles[wide].population, box, 999)))
    assert any("not in use" in problem.what for problem in check_mapping(away))
    core = mapping.cores[0]
    shared = replace(mapping, cores=(core, replace(mapping.cores[1], slot=core.slot), *mapping.cores[2:]))
    assert any("share a slot" in problem.what for problem in check_mapping(shared))
    for load in (replace(mapping.load, hops=1.0), replace(mapping.load, busiest_link=1.0)):
        wrong = check_mapping(replace(mapping, load=load))
        assert ["not what the links carry" in problem.what for problem in wrong] == [True]
    lied = replace(core, uses={**core.uses, "neurons": core.uses["neurons"] - 1})
    wrong = check_mapping(replace(mapping, cores=(lied, *mapping.cores[1:])))
    assert ["declares another use of neurons" in problem.what for problem in wrong] == [True]


def test_the_bound_is_that_of_the_tightest_limit(toy: Toy, random_network: Networks) -> None:
    network = random_network(0)
    neurons = sum(population.size for population in network.placed)
    assert least_cores(network, toy(neurons=10)).cores == -(-neurons // 10)
    assert least_cores(network, toy(neurons=10)).limit == "neurons"
    assert least_cores(network, toy(synaptic_memory=1)).limit == "synaptic_memory"
