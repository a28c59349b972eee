"""Better placements where routers copy messages: annealing by what the trees of routes come to."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp
from typing import NamedTuple

import numpy as np
from numba import njit

from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.placing.board import Board, board_for
from spikeloom.compiler.mapping.placing.graph import Counts, Talk, Weights
from spikeloom.compiler.mapping.placing.refine import SPELL, proposed_slot, swap
from spikeloom.compiler.mapping.routing.fanout import Fanout
from spikeloom.compiler.mapping.routing.flows import OUTSIDE
from spikeloom.compiler.mapping.xorshift import State, next_number, state_of

# pragma: no cover  (coverage does not see compiled functions)

FREE_MOVES, STRAINED_MOVES = 300, 30
"""Moves by hops alone, and by hops and strained links after them: times cores ** (4 / 3)."""

MOST_WORK, MOST_STRAINED_WORK = 2e10, 2e9
"""Targets that are looked at in either, at most: those of all trees that a move touches."""

HOT, COLD = 0.3, 0.001
STRAINED_HOT, STRAINED_COLD = 0.01, 0.001
"""Temperatures at the start and the end of either, in hops of a core in the mean."""

STRAIN = 2.0
"""Weight of strained links against hops."""


class Forest(NamedTuple):
    """Who sends what to whom, as compiled loops take it.

    Attributes:
        source: [trees], the core at the root of each.
        weight: [trees], messages a step.
        first: [trees + 1], where the targets of each begin.
        target: cores.
        at: [cores + 1], where the trees of each core begin.
        of: trees that begin or end at a core.
    """

    source: Counts
    weight: Weights
    first: Counts
    target: Counts
    at: Counts
    of: Counts


def forest_of(fanouts: Iterable[Fanout], rates: Iterable[float], cores: int) -> Forest:
    """The trees of all populations.

    Args:
        fanouts: the classes of each population.
        rates: messages a neuron and step of each.
        cores: how many there are.
    """
    sources, weights, spreads, targets = [], [], [], []
    for one, rate in zip(fanouts, rates, strict=True):
        inside = one.source != OUTSIDE
        sources.append(one.source[inside])
        weights.append(one.neurons[inside] * rate)
        spreads.append(one.spread[inside])
        targets.append(one.target[np.repeat(inside, one.spread)])
    source, spread, target = (np.concatenate(parts) for parts in (sources, spreads, targets))
    first = np.concatenate([np.zeros(1, np.int64), spread.cumsum()])
    trees = np.concatenate([np.arange(len(source)), np.repeat(np.arange(len(source)), spread)])
    ends = np.concatenate([source, target])
    order = np.argsort(ends, kind="stable")
    at = np.searchsorted(ends[order], np.arange(cores + 1))
    return Forest(source, np.concatenate(weights), first, target, at, trees[order])


def place_for_trees(slot_of: Counts, talk: Talk, forest: Forest, chip: Chip, seed: int) -> Counts:
    """A slot for every core, such that trees have few links and no link is crowded.

    Annealing by hops alone, then by hops and strained links, from the slots given.

    Args:
        slot_of: where the cores are.
        talk: messages between them, if each target gets its own.
        forest: the trees.
        chip: with the slots.
        seed: of the annealing.

    Returns:
        [cores], numbers of slots, all different.
    """
    board = board_for(talk, chip, slot_of)
    cores, sizes = board.cores, np.diff(forest.first) + 1
    hops = float(forest.weight @ links_of_trees(board, forest))
    if not hops:
        return slot_of
    unit, work = 2 * hops / cores, 2 * float((sizes * sizes).sum()) / cores
    reach = 1 + int((cores / board.slots_at.shape[2]) ** 0.5) // 4
    free = int(min(FREE_MOVES * cores ** (4 / 3), MOST_WORK / work))
    strained = int(min(STRAINED_MOVES * cores ** (4 / 3), MOST_STRAINED_WORK / work))
    anneal_trees(board, forest, free, HOT * unit, COLD * unit, reach, 0.0, state_of(seed + 3))
    anneal_trees(
        board, forest, strained, STRAINED_HOT * unit, STRAINED_COLD * unit, 1, STRAIN, state_of(seed + 4)
    )
    return board.slot_of


@njit(cache=True)
def anneal_trees(
    board: Board,
    forest: Forest,
    moves: int,
    hot: float,
    cold: float,
    reach: int,
    strain_weight: float,
    state: State,
) -> None:
    """Swaps that cost are taken with a probability that falls; the cost is links of trees and strained links.

    cost = hops + strain_weight * sum over links of load^3 / (busiest load at the start)^2

    Args:
        board: changed.
        forest: the trees between its cores.
        moves: that are tried.
        hot: temperature at the start, in hops.
        cold: at the end.
        reach: routers around a slot that are tried at the start; it shrinks to one.
        strain_weight: 0 leaves the loads of links out.
        state: of the random numbers that choose the moves.
    """
    links = links_of_trees(board, forest)
    loads = loads_of_trees(board, forest)
    busiest = loads.max()
    scale = strain_weight / busiest**2 if busiest > 0 else 0.0
    low, high = _no_rows(board)
    seen, touched = np.full(len(links), -1, np.int64), np.empty(len(links), np.int64)
    longer = np.empty(len(links), np.int64)
    temperature, window = hot, reach
    for move in range(moves):
        if move % SPELL == 0:
            temperature = hot * (cold / hot) ** (move / moves)
            window = 1 + int((reach - 1) * (1 - move / moves) ** 2)
        core = next_number(state) % len(board.slot_of)
        slot = proposed_slot(board, core, window, state)
        if slot < 0:
            continue
        chance = (next_number(state) % 1048576) / 1048576.0
        count = _touch(forest, core, move, seen, touched, 0)
        if board.core_at[slot] >= 0:
            count = _touch(forest, board.core_at[slot], move, seen, touched, count)
        here = board.slot_of[core]
        swap(board, core, slot)
        cost = 0.0
        for number in range(count):
            tree = touched[number]
            longer[number] = _links(board, forest, tree, low, high)
            cost += forest.weight[tree] * (longer[number] - links[tree])
        if scale > 0.0 and (cost <= 3 * temperature or chance < exp(3 - cost / temperature)):
            swap(board, core, here)
            cost += _lift(board, forest, touched[:count], -1, loads, scale, low, high)
            swap(board, core, slot)
            cost += _lift(board, forest, touched[:count], 1, loads, scale, low, high)
            if cost > 0 and chance >= exp(-cost / temperature):
                _lift(board, forest, touched[:count], -1, loads, scale, low, high)
                swap(board, core, here)
                _lift(board, forest, touched[:count], 1, loads, scale, low, high)
                continue
        elif cost > 0 and chance >= exp(-cost / temperature):
            swap(board, core, here)
            continue
        links[touched[:count]] = longer[:count]


@njit(cache=True)
def _touch(forest: Forest, core: int, move: int, seen: Counts, touched: Counts, count: int) -> int:
    """Add the trees that begin or end at a core to those that a move touches; how many there are then."""
    for number in range(forest.at[core], forest.at[core + 1]):
        tree = forest.of[number]
        if seen[tree] != move:
            seen[tree] = move
            touched[count] = tree
            count += 1
    return count


@njit(cache=True)
def _no_rows(board: Board) -> tuple[Counts, Counts]:
    """Room for the lowest and highest row of a tree's targets in each column."""
    width, height, _ = board.slots_at.shape
    return np.full(width, height, np.int64), np.full(width, -1, np.int64)


@njit(cache=True)
def _reach(board: Board, forest: Forest, tree: int, low: Counts, high: Counts) -> tuple[int, int]:
    """Write the rows of a tree's targets in each column; the columns that its trunk spans."""
    here = board.columns[board.slot_of[forest.source[tree]]]
    left, right = here, here
    for number in range(forest.first[tree], forest.first[tree + 1]):
        slot = board.slot_of[forest.target[number]]
        column, row = board.columns[slot], board.rows[slot]
        left, right = min(left, column), max(right, column)
        low[column], high[column] = min(low[column], row), max(high[column], row)
    return left, right


@njit(cache=True)
def _links(board: Board, forest: Forest, tree: int, low: Counts, high: Counts) -> int:
    """How many links a tree has; leaves the rows empty."""
    row = board.rows[board.slot_of[forest.source[tree]]]
    left, right = _reach(board, forest, tree, low, high)
    links = right - left
    for column in range(left, right + 1):
        if high[column] >= 0:
            links += max(high[column] - row, 0) + max(row - low[column], 0)
            low[column], high[column] = board.slots_at.shape[1], -1
    return links


@njit(cache=True)
def links_of_trees(board: Board, forest: Forest) -> Counts:
    """[trees], how many links each has."""
    low, high = _no_rows(board)
    found = np.empty(len(forest.source), np.int64)
    for tree in range(len(found)):
        found[tree] = _links(board, forest, tree, low, high)
    return found


@njit(cache=True)
def loads_of_trees(board: Board, forest: Forest) -> Weights:
    """[4, columns, rows], messages that leave each router to the east, west, south and north."""
    low, high = _no_rows(board)
    loads = np.zeros((4, len(low), board.slots_at.shape[1]))
    _lift(board, forest, np.arange(len(forest.source)), 1, loads, 0.0, low, high)
    return loads


@njit(cache=True)
def _lift(
    board: Board,
    forest: Forest,
    trees: Counts,
    sign: int,
    loads: Weights,
    scale: float,
    low: Counts,
    high: Counts,
) -> float:
    """Put trees onto the links, or take them off; the change of strain."""
    strain = 0.0
    for tree in trees:
        slot = board.slot_of[forest.source[tree]]
        here, row, load = board.columns[slot], board.rows[slot], sign * forest.weight[tree]
        left, right = _reach(board, forest, tree, low, high)
        for column in range(here, right):
            strain += _add(loads[0, column], row, load)
        for column in range(left + 1, here + 1):
            strain += _add(loads[1, column], row, load)
        for column in range(left, right + 1):
            for place in range(row, high[column]):
                strain += _add(loads[2, column], place, load)
            for place in range(low[column] + 1, row + 1):
                strain += _add(loads[3, column], place, load)
            low[column], high[column] = board.slots_at.shape[1], -1
    return strain * scale


@njit(cache=True)
def _add(lane: Weights, place: int, load: float) -> float:
    """Change the load of a link; the change of its third power."""
    before = lane[place]
    lane[place] = before + load
    return float(lane[place] ** 3 - before**3)
