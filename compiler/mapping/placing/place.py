"""Which core goes to which slot of the chip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.placing.board import Board, board_for, slot_table
from spikeloom.compiler.mapping.placing.graph import Counts, Talk, talk_of
from spikeloom.compiler.mapping.placing.refine import anneal, median_swaps
from spikeloom.compiler.mapping.placing.starts import (
    along_curve,
    by_axes,
    chips_first,
    compact,
    over_whole_mesh,
)
from spikeloom.compiler.mapping.xorshift import state_of

PASSES = 12
REACH = 1
"""Routers around the best place that are tried."""

FREE_MOVES = 300
MOST_FREE_MOVES = 30_000_000
"""Moves of the annealing by hops alone: times cores ** (4 / 3) (Betz and Rose, FPL 1997), and in all."""

STRAINED_MOVES = 400
MOST_STRAINED_MOVES = 1_500_000
"""Moves of the annealing by hops and strained links after it, a core, and in all."""

HOT, COLD = 0.3, 0.001
STRAINED_HOT, STRAINED_COLD = 0.01, 0.001
"""Temperatures at the start and the end of either, in hops of a core in the mean."""

STRAIN = 2.0
"""Weight of strained links against hops."""

MANY = 40_000
"""Placements of more cores have one start, few passes of swaps and no annealing."""

FEW_PASSES = 8

WARM, NEAR, FEWER = 0.03, 3, 2
STRAINED_WARM, MORE = 0.03, 4
"""Where a placement is improved: temperatures, the reach, what the moves are divided and multiplied by."""


def place(pairs: Counts, weight: NDArray[np.float64], cores: int, chip: Chip, seed: int) -> Counts:
    """A slot for every core, such that cores that talk much are near each other and no link is crowded.

    Starts from Hilbert curves in the order given and from the graph's spectrum, over the whole mesh and
    chip by chip; each is improved by median-window swaps, the best by annealing: by hops alone, then by hops
    and strained links.

    Args:
        pairs: [flows, 2], numbers of cores that exchange messages.
        weight: messages of each pair.
        cores: how many there are.
        chip: with at least as many usable cores.
        seed: of the order of swaps and of the annealing.

    Returns:
        [cores], numbers of slots, all different.
    """
    talk = talk_of(pairs, weight, cores)
    boards = [board_for(talk, chip, start) for start in _starts(talk, chip)]
    for board in boards:
        _swap(board, seed, PASSES if cores <= MANY else FEW_PASSES)
    best = min(boards, key=lambda board: board.hops)
    if cores <= MANY and best.hops:
        _anneal(best, seed)
    return best.slot_of


def improve(
    pairs: Counts,
    weight: NDArray[np.float64],
    cores: int,
    chip: Chip,
    slots: Counts,
    seed: int,
    strained: bool,
) -> Counts:
    """A better placement near one that is known: swaps, and annealing from a low temperature.

    Args:
        pairs: as for :func:`place`.
        weight: likewise.
        cores: likewise.
        chip: likewise.
        slots: of every core at the start.
        seed: of the swaps and of the annealing.
        strained: whether strained links count at the end.

    Returns:
        [cores], numbers of slots.
    """
    board = board_for(talk_of(pairs, weight, cores), chip, slots)
    _swap(board, seed, PASSES)
    if board.hops:
        unit = 2 * board.hops / board.cores
        moves = min(int(FREE_MOVES * board.cores ** (4 / 3)), MOST_FREE_MOVES) // FEWER
        anneal(board, moves, WARM * unit, COLD * unit, NEAR, 0.0, state_of(seed + 2))
        if strained:
            _relieve(board, seed, STRAINED_WARM, MORE * STRAINED_MOVES)
    return board.slot_of


def _swap(board: Board, seed: int, passes: int) -> None:
    """Median-window swaps until none saves hops."""
    random = np.random.default_rng(seed)
    for _ in range(passes):
        if median_swaps(board, random.permutation(board.cores), REACH) * 500 < board.cores:
            break


def _anneal(board: Board, seed: int) -> None:
    """By hops with moves that reach far at first, then by hops and links with moves to neighbours."""
    unit = 2 * board.hops / board.cores
    moves = min(int(FREE_MOVES * board.cores ** (4 / 3)), MOST_FREE_MOVES)
    reach = 1 + int((board.cores / board.slots_at.shape[2]) ** 0.5) // 4
    anneal(board, moves, HOT * unit, COLD * unit, reach, 0.0, state_of(seed + 2))
    _relieve(board, seed, STRAINED_HOT, STRAINED_MOVES)


def _relieve(board: Board, seed: int, hot: float, moves_a_core: int) -> None:
    """By hops and strained links."""
    unit = 2 * board.hops / board.cores
    moves = min(moves_a_core * board.cores, MOST_STRAINED_MOVES)
    anneal(board, moves, hot * unit, STRAINED_COLD * unit, 1, STRAIN, state_of(seed + 1))


def _starts(talk: Talk, chip: Chip) -> list[Counts]:
    slots = slot_table(chip)
    if talk.cores > MANY:
        return [along_curve(slots, chip)[: talk.cores]]
    chosen = compact(slots, talk.cores)
    starts = [along_curve(slots, chip)[: talk.cores], by_axes(talk, slots, chosen)]
    if chip.chips > 1:
        starts += [over_whole_mesh(slots)[: talk.cores], chips_first(talk, slots, chosen)]
    return starts
