"""The estimate: counts against the operations that flowed, and times and energies worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.compiler.mapping.placement import Mapping
from spikeloom.runtime.estimate.activity import NetworkActivity, measure, population_rates
from spikeloom.runtime.estimate.chip import USED, ChipEstimate, Workload, estimate_chip
from spikeloom.runtime.estimate.interval import Interval
from spikeloom.runtime.estimate.load import core_loads, pipeline_depth
from spikeloom.targets.loihi import loihi2
from tests.random_networks import spikformer

WORKLOAD = Workload(steps=4, window_us=10_000, input_events=800)
COSTS = loihi2().costs()


@pytest.fixture(scope="module")
def graph_and_activity() -> tuple[Graph, NetworkActivity]:
    network = spikformer(0, size=16, dim=32, depth=1, heads=2, batch=2)
    assert min(network.rates.values()) > 0.02
    return network.graph, measure(network.graph, [network.frames])


@pytest.fixture(scope="module")
def mapping(graph_and_activity: tuple[Graph, NetworkActivity]) -> Mapping:
    target = loihi2()
    return map_network(target.lower(graph_and_activity[0]), target.chip())


@pytest.fixture(scope="module")
def rates(mapping: Mapping, graph_and_activity: tuple[Graph, NetworkActivity]) -> dict[str, float]:
    return population_rates(mapping.network, *graph_and_activity)


@pytest.fixture(scope="module")
def estimate(mapping: Mapping, rates: dict[str, float]) -> ChipEstimate:
    return estimate_chip(mapping, rates, WORKLOAD, COSTS)


def test_every_neuron_is_updated_on_one_core(mapping: Mapping, rates: dict[str, float]) -> None:
    updates = sum(load.updates for load in core_loads(mapping, rates).values())
    assert updates == sum(population.size for population in mapping.network.placed)


def test_products_are_as_active_as_they_were(
    mapping: Mapping, rates: dict[str, float], graph_and_activity: tuple[Graph, NetworkActivity]
) -> None:
    """Products that are not zero, summed over populations, are those counted where they flowed."""
    products = [p for p in mapping.network.populations if p.role == "product"]
    fired = sum(p.size * rates[p.name] for p in products) * graph_and_activity[1].steps
    assert fired > 0
    assert fired == pytest.approx(graph_and_activity[1].operations.products)


def test_synaptic_operations_of_a_dense_network_are_its_synapses(mapping: Mapping) -> None:
    every = dict.fromkeys((p.name for p in mapping.network.populations), 1.0)
    network = mapping.network
    counted = sum(load.synaptic for load in core_loads(mapping, every).values())
    expected = sum(
        network.synapses(number) * network.kernel(projection.kernel).density
        for number, projection in enumerate(network.projections)
    )
    assert counted == pytest.approx(expected)


def test_a_step_is_as_long_as_the_busiest_core_needs(mapping: Mapping, rates: dict[str, float]) -> None:
    loads = core_loads(mapping, rates).values()
    cost = {name: figure.nominal for name, figure in COSTS.items()}
    needed = max(
        max(load.updates * cost["t_update"], load.synaptic * cost["t_synop"], load.messages * cost["t_spike"])
        for load in loads
    )
    estimate = estimate_chip(mapping, rates, WORKLOAD, COSTS)
    assert needed > cost["t_barrier"]
    assert estimate.step_s.nominal == pytest.approx(needed)
    assert estimate.step_s.low < estimate.step_s.nominal < estimate.step_s.high


def test_modes_are_what_their_parts_say(estimate: ChipEstimate, mapping: Mapping) -> None:
    depth, step = pipeline_depth(mapping.network), estimate.step_s.nominal
    back, paced = estimate.modes["back_to_back"].to_json(), estimate.modes["sensor_paced"].to_json()
    injection = 800 / COSTS["r_inject"].nominal
    assert back["latency_s"]["nominal"] == pytest.approx(injection + (4 + depth) * step)
    assert paced["latency_s"]["nominal"] == pytest.approx(0.04 + injection / 4 + (1 + depth) * step)
    for mode in (back, paced):
        for band in (mode["latency_s"], mode["energy_j"]):
            for end in ("low", "nominal", "high"):
                assert band[end] == pytest.approx(sum(part[end] for part in band["parts"].values()))
        static = COSTS["p_static"].nominal * mode["latency_s"]["nominal"]
        assert mode["energy_j"]["parts"]["static"]["nominal"] == pytest.approx(static)
    synapses = estimate.per_step["synaptic_operations"] * 4 * COSTS["e_synop"].nominal
    assert back["energy_j"]["parts"]["synapses"]["nominal"] == pytest.approx(synapses)
    assert paced["energy_j"]["parts"]["static"]["nominal"] > back["energy_j"]["nominal"]


def test_only_constants_that_matter_are_shown(mapping: Mapping, rates: dict[str, float]) -> None:
    """Each constant that is shown changes the estimate of one chip, or of several."""
    two = replace(mapping, chip=mapping.chip.with_chips(2))
    for name in USED:
        figure = COSTS[name]
        dearer = {**COSTS, name: replace(figure, nominal=2 * figure.high, high=2 * figure.high)}
        changed = [
            estimate_chip(one, rates, WORKLOAD, dearer).modes
            != estimate_chip(one, rates, WORKLOAD, COSTS).modes
            for one in (mapping, two)
        ]
        assert any(changed) or name.startswith("t_barrier"), name


def test_intervals_divide_crosswise() -> None:
    assert Interval(2, 4, 8).over(Interval(1, 2, 4)) == Interval(0.5, 2, 8)
