"""What is said of a mapping: bounds hold, and changes are what our mapper does after them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from spikeloom.compiler.mapping.bounds.hops import least_hops
from spikeloom.compiler.mapping.chip import Chip, Mesh
from spikeloom.compiler.mapping.explain import TRIED, explain
from spikeloom.compiler.mapping.explanation import Explanation
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.compiler.mapping.placing.graph import talk_of
from spikeloom.errors import InputError

Toy = Callable[..., Chip]
Networks = Callable[[int], Network]


@pytest.mark.parametrize("seed", range(4))
def test_bounds_hold_and_counts_add_up(seed: int, toy: Toy, random_network: Networks) -> None:
    mapping = map_network(random_network(seed), toy())
    found = explain(mapping, {})
    assert found.least_cores <= found.cores == sum(found.binding.values())
    assert found.least_messages <= found.messages == pytest.approx(mapping.load.messages)
    assert 0 < found.least_hops <= found.hops
    assert max(found.alone.values()) == found.least_cores
    assert [one.population for one in found.layers] == [one.name for one in mapping.network.placed]
    assert all(one.limit in found.binding for one in found.layers)


def test_a_change_is_what_the_mapper_does_after_it(toy: Toy, random_network: Networks) -> None:
    network = random_network(0)
    found = explain(map_network(network, toy()), {})
    tried = {one.change: one for one in found.what_if}
    kernels = tuple(replace(one, bits=max(one.bits - 1, 2)) for one in network.kernels)
    narrow = map_network(replace(network, kernels=kernels), toy())
    assert tried["weights of one bit less"].cores == len(narrow.cores)
    assert tried["weights of one bit less"].messages == pytest.approx(narrow.load.messages)
    everything = {limit.name: 2 * limit.value for limit in toy().limits}
    large = map_network(network, toy(**everything))
    assert tried["cores 2 times as large in everything"].cores == len(large.cores) < found.cores


def test_large_mappings_get_bounds_only(
    toy: Toy, random_network: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikeloom.compiler.mapping.explain.TRIED", 3)
    found = explain(map_network(random_network(0), toy()), {})
    assert all(one.cores is None and one.least_cores > 0 for one in found.what_if)
    assert TRIED > 100


def test_no_placement_beats_the_bound_on_hops() -> None:
    random = np.random.default_rng(0)
    mesh = [(x, y) for x in range(2) for y in range(3)]
    for _ in range(5):
        pairs = random.integers(0, 6, (9, 2))
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        messages = random.random(len(pairs))
        best = min(
            sum(
                load * (abs(where[a][0] - where[b][0]) + abs(where[a][1] - where[b][1]))
                for (a, b), load in zip(pairs.tolist(), messages.tolist(), strict=True)
            )
            for where in permutations(mesh)
        )
        assert least_hops(talk_of(pairs, messages, 6), Mesh(2, 3, 1, 6)) <= best + 1e-12


def test_an_explanation_survives_json(toy: Toy, random_network: Networks) -> None:
    found = explain(map_network(random_network(1), toy()), {})
    document = json.loads(json.dumps(found.to_json()))
    assert Explanation.from_json(document) == found
    with pytest.raises(InputError, match="SL0703"):
        Explanation.from_json({**document, "layers": 3})
