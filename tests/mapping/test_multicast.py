"""Trees of routes, class by class, against the walks of single neurons."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.check import check_mapping
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.execute import Walk, deliver, walk
from spikeloom.compiler.mapping.explain import explain
from spikeloom.compiler.mapping.explanation import Explanation
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.partition import flow_pairs, map_network
from spikeloom.compiler.mapping.placement import Mapping
from spikeloom.compiler.mapping.placing.board import board_for
from spikeloom.compiler.mapping.placing.graph import talk_of
from spikeloom.compiler.mapping.placing.trees import (
    anneal_trees,
    forest_of,
    links_of_trees,
    loads_of_trees,
    place_for_trees,
)
from spikeloom.compiler.mapping.routing.fanout import Fanout, fanout, fanouts
from spikeloom.compiler.mapping.routing.flows import OUTSIDE, all_flows, demands, readers
from spikeloom.compiler.mapping.routing.make_tables import routing_tables
from spikeloom.compiler.mapping.routing.tables import CORE, Outputs, Router
from spikeloom.compiler.mapping.routing.trees import least_tree_hops, tree_links, trees
from spikeloom.compiler.mapping.xorshift import state_of

Toy = Callable[..., Chip]
Networks = Callable[[int], Network]
SEEDS = range(8)
WAYS = {(1, 0): 0, (-1, 0): 1, (0, 1): 2, (0, -1): 3}
Link = tuple[int, int, int]


def way_of(start: tuple[int, int], stop: tuple[int, int]) -> set[Link]:
    """The links from a router to another as (way, row, column), along the row, then the column."""
    links = set()
    x, y = start
    while (x, y) != stop:
        step = (int(np.sign(stop[0] - x)), 0) if x != stop[0] else (0, int(np.sign(stop[1] - y)))
        links.add((WAYS[step], y, x))
        x, y = x + step[0], y + step[1]
    return links


def spread(mapping: Mapping, population: str) -> dict[tuple[int, frozenset[int]], int]:
    """How many neurons there are of each core and set of other cores that read them, neuron by neuron."""
    cores = mapping.cores_of(population).ravel()
    reading = np.zeros((len(mapping.cores), *mapping.network.population(population).shape), bool)
    for core, boxes in readers(mapping.network, mapping.tiles, population).items():
        for box in boxes:
            reading[core][box.slices] = True
    flat = reading.reshape(len(mapping.cores), -1)
    found: Counter[tuple[int, frozenset[int]]] = Counter()
    for neuron, core in enumerate(cores.tolist()):
        targets = frozenset(np.flatnonzero(flat[:, neuron]).tolist()) - {core}
        if targets:
            found[core, targets] += 1
    return dict(found)


def as_spread(one: Fanout) -> dict[tuple[int, frozenset[int]], int]:
    found: Counter[tuple[int, frozenset[int]]] = Counter()
    for number, core in enumerate(one.source.tolist()):
        targets = one.target[one.first[number] : one.first[number + 1]].tolist()
        assert targets == sorted(set(targets))
        found[core, frozenset(targets)] += int(one.neurons[number])
    return dict(found)


@pytest.mark.parametrize("seed", SEEDS)
def test_classes_are_those_of_single_neurons(seed: int, toy: Toy, random_network: Networks) -> None:
    mapping = map_network(random_network(seed), toy(neurons=24).with_chips(3))
    held = demands(mapping.network, mapping.tiles, len(mapping.cores))
    several = 0
    for one, found in zip(mapping.network.populations, fanouts(mapping.network, held), strict=True):
        assert as_spread(found) == spread(mapping, one.name)
        assert (np.prod(found.boxes[:, :, 1] - found.boxes[:, :, 0], axis=1) == found.neurons).all()
        several += int((found.spread > 1).sum())
    assert several > 3


@pytest.mark.parametrize("seed", SEEDS)
def test_random_boxes_of_three_axes(seed: int) -> None:
    """Holders that share the array out, readers with a few boxes each."""
    random = np.random.default_rng(seed)
    shape = (5, 7, 6)
    rows = np.sort(random.choice(np.arange(1, 7), 2, replace=False)).tolist()
    holding = [
        (core, Box(((0, 5), span, (0, 6))))
        for core, span in enumerate(zip([0, *rows], [*rows, 7], strict=True))
    ]
    reading, read = [], np.zeros((9, *shape), bool)
    for _ in range(14):
        starts = [int(random.integers(0, size)) for size in shape]
        box = Box(
            tuple((low, int(random.integers(low, size)) + 1) for low, size in zip(starts, shape, strict=True))
        )
        core = int(random.integers(0, 9))
        if not read[core][box.slices].any():
            read[core][box.slices] = True
            reading.append((core, box))
    expected: Counter[tuple[int, frozenset[int]]] = Counter()
    for core, box in holding:
        for index in np.ndindex(box.shape):
            place = tuple(low + at for (low, _), at in zip(box.ranges, index, strict=True))
            targets = frozenset(np.flatnonzero(read[(slice(None), *place)]).tolist()) - {core}
            if targets:
                expected[core, targets] += 1
    assert as_spread(fanout(holding, sorted(reading, key=lambda one: one[0]), 3)) == dict(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_trees_are_unions_of_the_routes_of_single_neurons(
    seed: int, toy: Toy, random_network: Networks
) -> None:
    mapping = map_network(random_network(seed), toy(neurons=24).with_chips(3))
    places = [(core.column, core.row) for core in mapping.cores]
    chips = [core.chip for core in mapping.cores]
    table = np.array([(*place, chip) for place, chip in zip(places, chips, strict=True)])
    held = demands(mapping.network, mapping.tiles, len(mapping.cores))
    random = np.random.default_rng(seed)
    rates = {one.name: float(random.integers(1, 9)) for one in mapping.network.populations}
    found = trees(mapping.network, held, rates, tuple(table.T), mapping.chip)
    links = np.zeros_like(found.links)
    sent_by = np.zeros(len(places))
    for number, one in enumerate(mapping.network.populations):
        hops = crossings = sent = 0
        for (core, targets), neurons in spread(mapping, one.name).items():
            sent += neurons
            if core == OUTSIDE:
                continue
            tree = set().union(*(way_of(places[core], places[target]) for target in targets))
            hops += neurons * len(tree)
            crossings += neurons * len({chips[target] for target in targets} - {chips[core]})
            sent_by[core] += rates[one.name] * neurons
            for link in tree:
                links[link] += rates[one.name] * neurons
        assert (found.sent[number], found.hops[number], found.crossings[number]) == (sent, hops, crossings)
        assert found.least_hops[number] <= hops
    assert (found.links == links).all()  # whole numbers, which float64 adds exactly
    assert (found.sent_by == sent_by).all()
    assert found.hops.sum() > 0
    assert (found.crossings.sum() > 0) == (len(set(chips)) > 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mapping_has_the_traffic_of_its_chips_routers(
    seed: int, toy: Toy, random_network: Networks
) -> None:
    network = random_network(seed)
    rates = {one.name: 0.25 + number for number, one in enumerate(network.populations)}
    apart = map_network(network, toy(neurons=24, multicast=0).with_chips(3), rates)
    mapping = map_network(network, toy(neurons=24, multicast=1).with_chips(3), rates)
    assert check_mapping(mapping) == []
    assert mapping.tiles == apart.tiles
    assert mapping.load.messages == apart.load.messages == apart.load.sent == apart.sent(rates)
    assert mapping.load.sent == pytest.approx(mapping.sent(rates))
    assert mapping.load.sent < mapping.load.messages
    assert sum(core.sent for core in mapping.cores) == pytest.approx(mapping.load.sent)
    assert mapping.load.hops == pytest.approx(mapping.hops(rates))
    assert mapping.load.injected == pytest.approx(mapping.injected(rates))
    assert mapping.load.injected <= apart.load.injected
    links = np.array([mapping.links.east, mapping.links.west, mapping.links.south, mapping.links.north])
    assert links.sum() == pytest.approx(mapping.load.hops)
    assert links.max() == mapping.load.busiest_link == mapping.links.busiest
    document, written = (json.loads(json.dumps(part.to_json())) for part in (mapping, network))
    assert Mapping.from_json(document, written) == mapping


def test_placement_for_trees_saves_hops(toy: Toy, random_network: Networks) -> None:
    """Against the slots that are best where each target gets a message of its own."""
    hops = np.zeros(2)
    for seed in SEEDS:
        network = random_network(seed)
        chip = toy(neurons=16, multicast=1).with_chips(4)
        mapping = map_network(network, chip)
        assert map_network(network, chip) == mapping
        apart = map_network(network, toy(neurons=16).with_chips(4))
        assert [core.slot for core in mapping.cores] != [core.slot for core in apart.cores]
        why = explain(apart, {}).multicast
        assert why is not None
        hops += [mapping.load.hops, why.hops]
    assert hops[0] < 0.95 * hops[1]


def test_annealing_counts_as_the_trees_do_and_spares_links(toy: Toy, random_network: Networks) -> None:
    busiest = np.zeros(2)
    for seed in SEEDS:
        network = random_network(seed)
        mapping = map_network(network, toy(neurons=24).with_chips(3))
        held = demands(network, mapping.tiles, len(mapping.cores))
        rates = dict.fromkeys((one.name for one in network.populations), 1.0)
        forest = forest_of(fanouts(network, held), rates.values(), len(held))
        pairs, messages = flow_pairs(network, rates, all_flows(network, held))
        talk = talk_of(pairs, messages, len(held))
        for way, strain in enumerate((0.0, 9.0)):
            board = board_for(talk, mapping.chip, np.array([core.slot for core in mapping.cores]))
            anneal_trees(board, forest, 4000, 9.0, 1.0, 2, strain, state_of(seed))
            assert (board.core_at[board.slot_of] == np.arange(len(held))).all()
            table = np.array([mapping.chip.position(slot) for slot in board.slot_of])
            found = trees(network, held, rates, (table[:, 1], table[:, 2], table[:, 0]), mapping.chip)
            assert forest.weight @ links_of_trees(board, forest) == found.hops.sum()
            assert (loads_of_trees(board, forest).transpose(0, 2, 1) == found.links).all()
            busiest[way] += found.links.max()
    assert busiest[1] < 0.95 * busiest[0]


@pytest.mark.parametrize("seed", range(4))
def test_explanations_give_both_routings(seed: int, toy: Toy, random_network: Networks) -> None:
    network = random_network(seed)
    for multicast in (0, 1):
        mapping = map_network(network, toy(neurons=24, multicast=multicast).with_chips(3))
        why = explain(mapping, {})
        assert why.unicast is not None
        assert why.multicast is not None
        own = why.multicast if multicast else why.unicast
        assert own.hops == pytest.approx(mapping.load.hops) == pytest.approx(why.hops)
        assert own.busiest_link == pytest.approx(mapping.load.busiest_link)
        assert own.sent == pytest.approx(mapping.load.sent)
        assert why.multicast.hops < why.unicast.hops
        assert why.multicast.sent < why.unicast.sent
        assert why.least_hops <= why.hops
        document = json.loads(json.dumps(why.to_json()))
        assert Explanation.from_json(document) == why
        for name in ("unicast", "multicast"):
            del document[name]
        assert Explanation.from_json(document).multicast is None


@pytest.mark.parametrize("seed", SEEDS)
def test_routing_tables_carry_each_spike_to_each_target_once(
    seed: int, toy: Toy, random_network: Networks
) -> None:
    network = random_network(seed)
    mapping = map_network(network, toy(neurons=24, multicast=1).with_chips(3))
    held = demands(network, mapping.tiles, len(mapping.cores))
    routes = routing_tables(network, held, mapping.cores)
    everyone = {one.name: np.ones(one.shape, bool) for one in network.populations}
    walked = walk(mapping, routes, everyone)
    assert walked.exact
    tables = {
        one.name: readers(network, mapping.tiles, one.name)
        for one in network.populations
        if one.role != "input"
    }
    apart = deliver(mapping, tables, {**everyone, "input": np.zeros((2, 6, 5), bool)})
    assert walked.delivery.messages == apart.messages
    assert walked.delivery.needless <= apart.needless
    traffic = {one.population: one for one in mapping.traffic}
    for name, links in walked.links.items():
        assert links.sum() == (traffic[name].hops if name in traffic else 0)
    ways = (mapping.links.east, mapping.links.west, mapping.links.south, mapping.links.north)
    assert (np.sum(list(walked.links.values()), axis=0) == np.array(ways)).all()
    random = np.random.default_rng(seed)
    some = {one.name: random.random(one.shape) < 0.3 for one in network.populations}
    assert walk(mapping, routes, some).exact


def test_walking_finds_what_is_wrong(toy: Toy, random_network: Networks) -> None:
    network = random_network(0)
    mapping = map_network(network, toy(neurons=24, multicast=1).with_chips(3))
    held = demands(network, mapping.tiles, len(mapping.cores))
    routes = routing_tables(network, held, mapping.cores)
    everyone = {one.name: np.ones(one.shape, bool) for one in network.populations}

    def spoilt(router: Router, place: tuple[int, str], outputs: Outputs | None) -> Walk:
        table = {at: one for at, one in routes.entries[router].items() if at != place or outputs is not None}
        table |= {} if outputs is None else {place: outputs}
        return walk(mapping, replace(routes, entries={**routes.entries, router: table}), everyone)

    router, place, outputs = next(
        (router, place, outputs)
        for router, table in routes.entries.items()
        for place, outputs in table.items()
        if len(outputs.cores) == 1 and outputs.ways
    )
    neurons, core = routes.keys[place[0]].box.size, outputs.cores[0]
    silent = spoilt(router, place, replace(outputs, cores=()))
    assert (silent.delivery.missed, silent.lost, silent.exact) == (neurons, 0, False)
    doubled = spoilt(router, place, replace(outputs, cores=(core, core)))
    assert (doubled.delivery.doubled, doubled.delivery.missed) == (neurons, 0)
    gone = spoilt(router, place, None)
    assert gone.lost == neurons
    assert gone.delivery.missed >= 2 * neurons
    elsewhere = next(n for n, one in enumerate(mapping.cores) if (one.column, one.row) != router)
    assert spoilt(router, place, replace(outputs, cores=(core, elsewhere))).lost == neurons
    back = {"east": "west", "west": "east", "south": "north", "north": "south", CORE: "north"}[place[1]]
    assert spoilt(router, place, replace(outputs, ways=(*outputs.ways, back))).lost >= neurons
    needless = next(n for n, one in enumerate(mapping.cores) if (one.column, one.row) == router and n != core)
    heard = spoilt(router, place, replace(outputs, cores=(core, needless)))
    assert heard.delivery.needless + heard.delivery.doubled == neurons
    key = routes.keys[place[0]]
    moved = replace(key, source=(key.source + 1) % len(mapping.cores))
    keys = (*routes.keys[: place[0]], moved, *routes.keys[place[0] + 1 :])
    assert walk(mapping, replace(routes, keys=keys), everyone).lost > 0


def test_documents_of_before_sent_each_message(toy: Toy, random_network: Networks) -> None:
    mapping = map_network(random_network(0), toy())
    document, network = (json.loads(json.dumps(part.to_json())) for part in (mapping, mapping.network))
    for one in (document["load"], *document["traffic"]):
        assert one.pop("sent") == one["messages"]
    assert Mapping.from_json(document, network) == mapping


@pytest.mark.parametrize("seed", range(4))
def test_a_tree_needs_no_more_than_the_routes_apart(seed: int) -> None:
    random = np.random.default_rng(seed)
    columns, rows = random.integers(0, 9, 30), random.integers(0, 6, 30)
    targets = random.choice(np.arange(1, 30), 12, replace=False)
    one = Fanout(
        np.zeros(1, np.int64),
        np.zeros((1, 1, 2), np.int64),
        np.array([3]),
        np.array([0, 12]),
        np.sort(targets),
    )
    links = tree_links(one, columns, rows, (9, 6))
    routes = [way_of((columns[0], rows[0]), (columns[t], rows[t])) for t in targets]
    assert set(np.unique(links)) == {0, 3}
    assert {tuple(link) for link in np.argwhere(links)} == set().union(*routes)
    assert max(map(len, routes)) <= links.sum() / 3 <= sum(map(len, routes))
    assert least_tree_hops(one, 1) == 3 * 12


def test_inputs_have_no_tree(toy: Toy, random_network: Networks) -> None:
    network = random_network(1)
    mapping = map_network(network, toy())
    held = demands(network, mapping.tiles, len(mapping.cores))
    places = np.array([(core.column, core.row, core.chip) for core in mapping.cores]).T
    found = trees(
        network, held, dict.fromkeys([p.name for p in network.populations], 1.0), tuple(places), mapping.chip
    )
    assert network.populations[0].role == "input"
    assert found.hops[0] == found.crossings[0] == found.least_hops[0] == 0
    assert 0 < found.sent[0] <= network.populations[0].size


def test_cores_that_come_together_leave_no_link_to_strain(toy: Toy) -> None:
    """Two cores at opposite corners that end at one router: no link carries anything then."""
    one = Fanout(*map(np.array, ([0], [[[0, 5]]], [5], [0, 1], [1])))
    talk = talk_of(np.array([[0, 1]]), np.array([5.0]), 2)
    chip = toy(multicast=1)
    slots = place_for_trees(np.array([0, 29]), talk, forest_of([one], [1.0], 2), chip, 0)
    (_, *here), (_, *there) = map(chip.position, slots.tolist())
    assert here == there
