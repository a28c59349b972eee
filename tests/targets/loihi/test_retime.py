"""Balancing: against every possible choice on small graphs, and against the longest paths."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from spikeloom.targets.loihi.retime import Edge, Place, balance


def random_graph(seed: int) -> tuple[dict[str, int], list[Edge]]:
    """Six populations in the order of the data flow, all reached from x and all leading to y."""
    rng = np.random.default_rng(seed)
    names = ["x", "a", "b", "c", "d", "y"]
    edges = {(names[i], names[j]) for i in range(6) for j in range(i + 1, 6) if rng.random() < 0.35}
    edges |= {(names[rng.integers(0, j)], names[j]) for j in range(1, 6)}
    edges |= {(names[i], names[rng.integers(i + 1, 6)]) for i in range(5)}
    return {name: int(rng.integers(1, 20)) for name in names}, sorted(edges)


def cheapest(sizes: dict[str, int], edges: list[Edge], latency: int, end: int) -> int:
    """The least cost over all depths, one by one."""
    inner = [name for name in sizes if name not in "xy"]
    best = 10**9
    for depths in product(range(1, latency), repeat=len(inner)):
        depth = {"x": 0, "y": latency, **dict(zip(inner, depths, strict=True))}
        waits = {edge: depth[edge[1]] - depth[edge[0]] - 1 for edge in edges}
        if min(waits.values()) >= 0:
            longest = {
                name: max((w for e, w in waits.items() if e[end] == name), default=0) for name in sizes
            }
            best = min(best, sum(sizes[name] * wait for name, wait in longest.items()))
    return best


@pytest.mark.parametrize("place", ["synapses", "relays"])
@pytest.mark.parametrize("seed", range(30))
def test_the_cost_is_the_least_of_all(seed: int, place: Place) -> None:
    sizes, edges = random_graph(seed)
    timing = balance(sizes, edges, ["x"], ["y"], place)
    assert all(timing.depth[t] - timing.depth[s] - 1 == timing.delays[s, t] >= 0 for s, t in edges)
    assert timing.cost == cheapest(sizes, edges, timing.depth["y"], int(place == "synapses"))


def test_what_waits_is_the_cheaper_side() -> None:
    """x reaches y directly and through a and b; delays cost slots where they end."""
    edges = [("x", "a"), ("a", "b"), ("b", "y"), ("x", "y")]
    assert balance({"x": 1, "a": 1, "b": 1, "y": 5}, edges, ["x"], ["y"]).cost == 10


def test_a_chain_waits_for_nothing() -> None:
    timing = balance({"x": 1, "a": 1, "y": 1}, [("x", "a"), ("a", "y")], ["x"], ["y"])
    assert (timing.latency, timing.cost) == (2, 0)
