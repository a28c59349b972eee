"""Better placements by swaps: towards the median of those a core talks to, then by annealing."""

from __future__ import annotations

from math import exp

import numpy as np
from numba import njit

from spikeloom.compiler.mapping.placing.board import Board
from spikeloom.compiler.mapping.placing.graph import Counts, Weights
from spikeloom.compiler.mapping.xorshift import State, next_number

# pragma: no cover  (coverage does not see compiled functions)

SPELL = 256
"""Moves of the annealing between changes of its temperature."""


@njit(cache=True)
def _median(board: Board, core: int, of_slot: Counts, tally: Weights) -> int:
    """The weighted median of the columns or rows of those that a core talks to; leaves the tally at zero."""
    total, lowest, highest = 0.0, len(tally), 0
    for k in range(board.first[core], board.first[core + 1]):
        value = of_slot[board.slot_of[board.other[k]]]
        tally[value] += board.weight[k]
        total += board.weight[k]
        lowest, highest = min(lowest, value), max(highest, value)
    found, reached = -1, 0.0
    for value in range(lowest, highest + 1):
        reached += tally[value]
        tally[value] = 0.0
        if found < 0 and 2 * reached >= total:
            found = value
    return found if found >= 0 else highest


@njit(cache=True)
def swap_gain(board: Board, core: int, slot: int) -> float:
    """Hops saved if a core and what is in a slot change places."""
    here = board.slot_of[core]
    there = board.core_at[slot]
    gain = _nearer(board, core, there, here, slot)
    if there >= 0:
        gain += _nearer(board, there, core, slot, here)
    return gain


@njit(cache=True)
def _nearer(board: Board, core: int, without: int, here: int, slot: int) -> float:
    """Hops saved if a core moves from one slot to another, those to one other core left out."""
    x, y = board.columns[here], board.rows[here]
    to_x, to_y = board.columns[slot], board.rows[slot]
    gain = 0.0
    for k in range(board.first[core], board.first[core + 1]):
        other = board.other[k]
        if other != without:
            place = board.slot_of[other]
            u, v = board.columns[place], board.rows[place]
            gain += board.weight[k] * (abs(x - u) + abs(y - v) - abs(to_x - u) - abs(to_y - v))
    return gain


@njit(cache=True)
def swap(board: Board, core: int, slot: int) -> None:
    """A core and what is in a slot change places."""
    here = board.slot_of[core]
    there = board.core_at[slot]
    board.slot_of[core] = slot
    board.core_at[slot] = core
    board.core_at[here] = there
    if there >= 0:
        board.slot_of[there] = here


@njit(cache=True)
def median_swaps(board: Board, order: Counts, reach: int) -> int:
    """One pass: each core to the best slot around the median of those it talks to; how many moved.

    Args:
        board: changed.
        order: of the turns.
        reach: routers around the median that are tried.
    """
    moved = 0
    width, height = board.slots_at.shape[:2]
    tally = np.zeros(max(width, height))
    for core in order:
        if board.first[core] == board.first[core + 1]:
            continue
        column = _median(board, core, board.columns, tally)
        row = _median(board, core, board.rows, tally)
        best, found = 1e-9, -1
        for x in range(max(column - reach, 0), min(column + reach + 1, width)):
            for y in range(max(row - reach, 0), min(row + reach + 1, height)):
                for slot in board.slots_at[x, y]:
                    if slot < 0 or slot == board.slot_of[core]:
                        continue
                    gain = swap_gain(board, core, slot)
                    if gain > best:
                        best, found = gain, slot
        if found >= 0:
            swap(board, core, found)
            moved += 1
    return moved


@njit(cache=True)
def _route(board: Board, loads: Weights, source: int, target: int, load: float, scale: float) -> float:
    """Put a load on the links between two slots, first along the row; the change of strain."""
    x, y = board.columns[source], board.rows[source]
    to_x, to_y = board.columns[target], board.rows[target]
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
def _lift(board: Board, loads: Weights, core: int, sign: float, without: int, scale: float) -> float:
    """Take all routes of a core off the links (sign -1), or put them on; the change of strain."""
    strain = 0.0
    here = board.slot_of[core]
    for k in range(board.first[core], board.first[core + 1]):
        if board.other[k] == without:
            continue
        place = board.slot_of[board.other[k]]
        if board.sent[k] > 0:
            strain += _route(board, loads, here, place, sign * board.sent[k], scale)
        if board.received[k] > 0:
            strain += _route(board, loads, place, here, sign * board.received[k], scale)
    return strain


@njit(cache=True)
def link_loads(board: Board) -> Weights:
    """Messages on every link with XY routes: [east, west, south, north; column; row] of where it starts."""
    width, height = board.slots_at.shape[:2]
    loads = np.zeros((4, width, height))
    for core in range(len(board.slot_of)):
        for k in range(board.first[core], board.first[core + 1]):
            if board.sent[k] > 0:
                there = board.slot_of[board.other[k]]
                _route(board, loads, board.slot_of[core], there, board.sent[k], 0.0)
    return loads


@njit(cache=True)
def _strained_swap(board: Board, loads: Weights, core: int, slot: int, scale: float) -> float:
    """Swap, with the links' loads; the change of strain. Swapping back undoes it."""
    there = board.core_at[slot]
    strain = _lift(board, loads, core, -1, -1, scale)
    if there >= 0:
        strain += _lift(board, loads, there, -1, core, scale)
    swap(board, core, slot)
    strain += _lift(board, loads, core, 1, -1, scale)
    if there >= 0:
        strain += _lift(board, loads, there, 1, core, scale)
    return strain


@njit(cache=True)
def proposed_slot(board: Board, core: int, reach: int, state: State) -> int:
    """A slot near one that the core talks to (three times in four) or near its own; -1 if there is none."""
    low, high = board.first[core], board.first[core + 1]
    beside = board.slot_of[core]
    if low < high and next_number(state) % 4:
        beside = board.slot_of[board.other[low + next_number(state) % (high - low)]]
    x = board.columns[beside] + next_number(state) % (2 * reach + 1) - reach
    y = board.rows[beside] + next_number(state) % (2 * reach + 1) - reach
    width, height, cores = board.slots_at.shape
    if x < 0 or y < 0 or x >= width or y >= height:
        return -1
    slot = board.slots_at[x, y, next_number(state) % cores]
    return -1 if slot == board.slot_of[core] else int(slot)


@njit(cache=True)
def anneal(
    board: Board, moves: int, hot: float, cold: float, reach: int, strain_weight: float, state: State
) -> None:
    """Swaps that cost are taken with a probability that falls; the cost is hops and strained links.

    cost = hops + strain_weight * sum over links of load^3 / (busiest load at the start)^2

    Args:
        board: changed.
        moves: that are tried.
        hot: temperature at the start, in hops.
        cold: at the end.
        reach: routers around a slot that are tried at the start; it shrinks to one.
        strain_weight: 0 leaves the links out.
        state: of the random numbers that choose the moves.
    """
    loads = link_loads(board)
    scale = strain_weight / loads.max() ** 2
    temperature, window = hot, reach
    for move in range(moves):
        if move % SPELL == 0:
            temperature = hot * (cold / hot) ** (move / moves)
            window = 1 + int((reach - 1) * (1 - move / moves) ** 2)
        core = next_number(state) % len(board.slot_of)
        slot = proposed_slot(board, core, window, state)
        if slot < 0:
            continue
        cost = -swap_gain(board, core, slot)
        chance = (next_number(state) % 1048576) / 1048576.0
        if scale == 0.0:
            if cost <= 0 or chance < exp(-cost / temperature):
                swap(board, core, slot)
            continue
        # links are looked at only where hops leave a chance: strain seldom outweighs three temperatures
        if cost > 3 * temperature and chance >= exp(3 - cost / temperature):
            continue
        here = board.slot_of[core]
        cost += _strained_swap(board, loads, core, slot, scale)
        if cost > 0 and chance >= exp(-cost / temperature):
            _strained_swap(board, loads, core, here, scale)
