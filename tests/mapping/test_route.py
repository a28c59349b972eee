from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from spikeloom.compiler.mapping.placing.place import place
from spikeloom.compiler.mapping.routing.flows import OUTSIDE, Flows, distances, link_loads


def walked(
    flows: Flows, messages: np.ndarray, columns: np.ndarray, rows: np.ndarray
) -> tuple[Counter[tuple[tuple[int, int], tuple[int, int]]], float]:
    """Every link on the way of every flow, first along the row, then along the column."""
    links: Counter[tuple[tuple[int, int], tuple[int, int]]] = Counter()
    hops = 0.0
    for source, target, load in zip(flows.source, flows.target, messages, strict=True):
        if source == OUTSIDE:
            continue
        x, y = columns[source], rows[source]
        while (x, y) != (columns[target], rows[target]):
            here = (int(x), int(y))
            if x != columns[target]:
                x += np.sign(columns[target] - x)
            else:
                y += np.sign(rows[target] - y)
            links[here, (int(x), int(y))] += load
            hops += load
    return links, hops


@pytest.mark.parametrize("seed", range(5))
def test_links_and_hops_against_a_walk(seed: int) -> None:
    random = np.random.default_rng(seed)
    columns, rows = random.integers(0, 7, 20), random.integers(0, 5, 20)
    source, target = random.integers(-1, 20, 60), random.integers(0, 20, 60)
    flows = Flows(np.zeros(60, np.int64), source, target, np.ones(60, np.int64))
    messages = random.random(60)
    links, hops = walked(flows, messages, columns, rows)
    loads = link_loads(flows, messages, columns, rows, (7, 5))
    assert loads.shape == (4, 5, 7)
    for way, (right, down) in enumerate(((1, 0), (-1, 0), (0, 1), (0, -1))):
        for row, column in np.ndindex(5, 7):
            link = (column, row), (column + right, row + down)
            assert loads[way, row, column] == pytest.approx(links[link])
    assert (distances(flows, columns, rows) * messages).sum() == pytest.approx(hops)


def test_cores_that_talk_end_up_close(toy) -> None:  # type: ignore[no-untyped-def]
    """A ring in a random order of cores: neighbours on the ring become neighbours on the mesh."""
    chip, count = toy(), 28
    ring = np.random.default_rng(0).permutation(count)
    pairs = np.stack([ring, np.roll(ring, -1)], 1)
    slots = place(pairs, np.ones(count), count, chip, seed=0)
    assert len(set(slots.tolist())) == count
    places = np.array([chip.position(slot)[1:] for slot in slots])
    apart = np.abs(places[pairs[:, 0]] - places[pairs[:, 1]]).sum()
    before = np.array([chip.position(slot)[1:] for slot in range(count)])
    assert apart < 0.6 * np.abs(before[pairs[:, 0]] - before[pairs[:, 1]]).sum()


def test_silent_cores_are_placed_too(toy) -> None:  # type: ignore[no-untyped-def]
    slots = place(np.zeros((0, 2), np.int64), np.zeros(0), 5, toy(), seed=0)
    assert len(set(slots.tolist())) == 5
