"""Better placements by swaps: towards the median of those a core talks to, then by annealing."""

from __future__ import annotations

from math import exp

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spikeloom.compiler.mapping.placing.graph import Counts, Weights

# pragma: no cover  (coverage does not see compiled functions)


@njit(cache=True)
def _apart(columns: Counts, rows: Counts, a: int, b: int) -> int:
    return int(abs(columns[a] - columns[b]) + abs(rows[a] - rows[b]))


@njit(cache=True)
def _median(values: Counts, weights: Weights) -> int:
    order = np.argsort(values)
    half = weights.sum() / 2
    reached = 0.0
    for i in order:
        reached += weights[i]
        if reached >= half:
            return int(values[i])
    return int(values[order[-1]])


@njit(cache=True)
def swap_gain(
    core: int,
    slot: int,
    slot_of: Counts,
    core_at: Counts,
    columns: Counts,
    rows: Counts,
    first: Counts,
    other: Counts,
    weight: Weights,
) -> float:
    """Hops saved if a core and what is in a slot change places."""
    here = slot_of[core]
    there = core_at[slot]
    gain = 0.0
    for k in range(first[core], first[core + 1]):
        if other[k] != there:
            place = slot_of[other[k]]
            gain += weight[k] * (_apart(columns, rows, here, place) - _apart(columns, rows, slot, place))
    if there >= 0:
        for k in range(first[there], first[there + 1]):
            if other[k] != core:
                place = slot_of[other[k]]
                gain += weight[k] * (_apart(columns, rows, slot, place) - _apart(columns, rows, here, place))
    return gain


@njit(cache=True)
def _swap(core: int, slot: int, slot_of: Counts, core_at: Counts) -> None:
    here = slot_of[core]
    there = core_at[slot]
    slot_of[core] = slot
    core_at[slot] = core
    core_at[here] = there
    if there >= 0:
        slot_of[there] = here


@njit(cache=True)
def median_swaps(
    order: Counts,
    slot_of: Counts,
    core_at: Counts,
    columns: Counts,
    rows: Counts,
    slots_at: Counts,
    first: Counts,
    other: Counts,
    weight: Weights,
    reach: int,
) -> int:
    """One pass: each core to the best slot around the median of those it talks to; how many moved.

    Args:
        order: of the turns.
        slot_of: of each core; changed.
        core_at: of each slot, -1 if empty; changed.
        columns: of each slot.
        rows: of each slot.
        slots_at: [columns, rows, cores a router], slots, -1 if there is none.
        first: rows of the graph.
        other: its entries.
        weight: of each entry.
        reach: routers around the median that are tried.
    """
    moved = 0
    for core in order:
        low, high = first[core], first[core + 1]
        if low == high:
            continue
        around = slot_of[other[low:high]]
        column = _median(columns[around], weight[low:high])
        row = _median(rows[around], weight[low:high])
        best, found = 1e-9, -1
        for x in range(max(column - reach, 0), min(column + reach + 1, slots_at.shape[0])):
            for y in range(max(row - reach, 0), min(row + reach + 1, slots_at.shape[1])):
                for slot in slots_at[x, y]:
                    if slot < 0 or slot == slot_of[core]:
                        continue
                    gain = swap_gain(core, slot, slot_of, core_at, columns, rows, first, other, weight)
                    if gain > best:
                        best, found = gain, slot
        if found >= 0:
            _swap(core, found, slot_of, core_at)
            moved += 1
    return moved


@njit(cache=True)
def _route(loads: Weights, x: int, y: int, to_x: int, to_y: int, load: float, scale: float) -> float:
    """Put a load on the links of a route, along the row, then along the column; the change of strain."""
    strain = 0.0
    while x != to_x:
        direction = 0 if to_x > x else 1
        link = loads[direction, x, y]
        strain += ((link + load) ** 3 - link**3) * scale
        loads[direction, x, y] = link + load
        x += 1 if to_x > x else -1
    while y != to_y:
        direction = 2 if to_y > y else 3
        link = loads[direction, x, y]
        strain += ((link + load) ** 3 - link**3) * scale
        loads[direction, x, y] = link + load
        y += 1 if to_y > y else -1
    return strain


@njit(cache=True)
def _lift(
    core: int,
    sign: float,
    skip: int,
    loads: Weights,
    slot_of: Counts,
    columns: Counts,
    rows: Counts,
    first: Counts,
    other: Counts,
    sent: Weights,
    received: Weights,
    scale: float,
) -> float:
    """Take all routes of a core off the links (sign -1), or put them on; the change of strain."""
    strain = 0.0
    x, y = columns[slot_of[core]], rows[slot_of[core]]
    for k in range(first[core], first[core + 1]):
        if other[k] == skip:
            continue
        place = slot_of[other[k]]
        u, v = columns[place], rows[place]
        if sent[k] > 0:
            strain += _route(loads, x, y, u, v, sign * sent[k], scale)
        if received[k] > 0:
            strain += _route(loads, u, v, x, y, sign * received[k], scale)
    return strain


@njit(cache=True)
def link_loads(
    slot_of: Counts,
    columns: Counts,
    rows: Counts,
    first: Counts,
    other: Counts,
    sent: Weights,
    width: int,
    height: int,
) -> Weights:
    """Messages on every link with XY routes: [east, west, south, north; column; row] of where it starts."""
    loads = np.zeros((4, width, height))
    for core in range(len(first) - 1):
        for k in range(first[core], first[core + 1]):
            if sent[k] > 0:
                a, b = slot_of[core], slot_of[other[k]]
                _route(loads, columns[a], rows[a], columns[b], rows[b], sent[k], 0.0)
    return loads


@njit(cache=True)
def _next(state: NDArray[np.uint64]) -> int:
    """xorshift64* (Vigna, 2016): the same numbers on every machine."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return int((x * np.uint64(2685821657736338717)) >> np.uint64(33))


@njit(cache=True)
def _strained_swap(
    core: int,
    slot: int,
    loads: Weights,
    slot_of: Counts,
    core_at: Counts,
    columns: Counts,
    rows: Counts,
    first: Counts,
    other: Counts,
    sent: Weights,
    received: Weights,
    scale: float,
) -> float:
    """Swap, with the links' loads; the change of strain. Swapping back undoes it."""
    there = core_at[slot]
    strain = _lift(core, -1, -1, loads, slot_of, columns, rows, first, other, sent, received, scale)
    if there >= 0:
        strain += _lift(there, -1, core, loads, slot_of, columns, rows, first, other, sent, received, scale)
    _swap(core, slot, slot_of, core_at)
    strain += _lift(core, 1, -1, loads, slot_of, columns, rows, first, other, sent, received, scale)
    if there >= 0:
        strain += _lift(there, 1, core, loads, slot_of, columns, rows, first, other, sent, received, scale)
    return strain


@njit(cache=True)
def _proposed(
    core: int,
    slot_of: Counts,
    columns: Counts,
    rows: Counts,
    slots_at: Counts,
    first: Counts,
    other: Counts,
    state: NDArray[np.uint64],
) -> int:
    """A slot next to one that the core talks to (three times in four) or to its own; -1 if there is none."""
    low, high = first[core], first[core + 1]
    beside = slot_of[core]
    if low < high and _next(state) % 4:
        beside = slot_of[other[low + _next(state) % (high - low)]]
    x = columns[beside] + _next(state) % 3 - 1
    y = rows[beside] + _next(state) % 3 - 1
    if x < 0 or y < 0 or x >= slots_at.shape[0] or y >= slots_at.shape[1]:
        return -1
    slot = slots_at[x, y, _next(state) % slots_at.shape[2]]
    return -1 if slot == slot_of[core] else int(slot)


@njit(cache=True)
def anneal(
    slot_of: Counts,
    core_at: Counts,
    columns: Counts,
    rows: Counts,
    slots_at: Counts,
    first: Counts,
    other: Counts,
    sent: Weights,
    received: Weights,
    moves: int,
    hot: float,
    cold: float,
    strain_weight: float,
    seed: int,
) -> None:
    """Swaps that cost are taken with a probability that falls; the cost is hops and strained links.

    cost = hops + strain_weight * sum over links of load^3 / (busiest load at the start)^2
    """
    weight = sent + received
    loads = link_loads(slot_of, columns, rows, first, other, sent, slots_at.shape[0], slots_at.shape[1])
    scale = strain_weight / loads.max() ** 2
    state = np.array([np.uint64(seed * 2654435769 + 88172645463325252)])
    for move in range(moves):
        core = _next(state) % len(slot_of)
        slot = _proposed(core, slot_of, columns, rows, slots_at, first, other, state)
        if slot < 0:
            continue
        cost = -swap_gain(core, slot, slot_of, core_at, columns, rows, first, other, weight)
        temperature = hot * (cold / hot) ** (move / moves)
        chance = (_next(state) % 1048576) / 1048576.0
        # links are looked at only where hops leave a chance: strain seldom outweighs three temperatures
        if cost > 3 * temperature and chance >= exp(3 - cost / temperature):
            continue
        here = slot_of[core]
        cost += _strained_swap(
            core, slot, loads, slot_of, core_at, columns, rows, first, other, sent, received, scale
        )
        if cost > 0 and chance >= exp(-cost / temperature):
            _strained_swap(
                core, here, loads, slot_of, core_at, columns, rows, first, other, sent, received, scale
            )
