"""Networks of the benchmark: mapped, counted anew index by index, and executed spike by spike."""

from __future__ import annotations

import numpy as np
import pytest

from examples.mapping.bench import chip_for
from examples.mapping.networks import CATALOGUE
from spikeloom.compiler.mapping.bounds.messages import least_messages
from spikeloom.compiler.mapping.check import check_mapping
from spikeloom.compiler.mapping.execute import deliver
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.compiler.mapping.routing.flows import readers

SMALL = ("lenet", "alexnet", "random-16k", "max-former-384", "spikformer-4-256")
"""Mapped in every run of the tests; the rest of the catalogue has minutes."""

LARGE = tuple(name for name in CATALOGUE if name not in SMALL)


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_a_network_keeps_every_limit_and_delivers_every_spike(name: str) -> None:
    load = CATALOGUE[name]()
    mapping = map_network(load.network, chip_for(load), load.rates)
    assert check_mapping(mapping) == []
    assert mapping.bound.cores <= len(mapping.cores) <= 1.2 * mapping.bound.cores
    assert mapping.load.messages >= least_messages(load.network, mapping.chip, load.rates)
    if load.neurons > 6_000_000:
        return
    random = np.random.default_rng(0)
    spikes = {p.name: random.random(p.shape) < load.rates[p.name] for p in load.network.populations}
    tables = {p.name: readers(load.network, mapping.tiles, p.name) for p in load.network.populations}
    delivered = deliver(mapping, tables, spikes)
    assert delivered.exact
    assert delivered.spikes > 0.05 * load.neurons / 10
