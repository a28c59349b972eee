"""How the literature puts clusters on a mesh."""

from __future__ import annotations

import numpy as np
from numba import njit

from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.placing.board import Board, board_for, slot_table
from spikeloom.compiler.mapping.placing.graph import Counts, Talk, Weights
from spikeloom.compiler.mapping.placing.refine import swap_gain
from spikeloom.compiler.mapping.placing.starts import over_whole_mesh

PARTICLES, ROUNDS = 40, 150
INERTIA, OWN, BEST = 0.7, 1.4, 1.4
LEAST_GAIN = 1e-9
TENSE = 0.3
"""Share of the adjacent pairs, the tensest first, that a round of force-directed swaps looks at."""


def row_major(talk: Talk, chip: Chip) -> Counts:
    """Clusters in the order given, as Lava 0.10's public mapper numbers cores."""
    slots = slot_table(chip)
    width = int(np.ceil(np.sqrt(talk.cores)))
    order = np.lexsort((slots[:, 1], slots[:, 2]))
    inside = order[slots[order, 1] < max(width, 1)] if chip.routers[1] >= width else order
    return (inside if len(inside) >= talk.cores else order)[: talk.cores]


def hilbert_forces(talk: Talk, chip: Chip) -> Counts:
    """Jin et al., ASPLOS 2023: along a Hilbert curve in topological order, then force-directed swaps.

    Variant: the published forces use inbound edges only and a potential that cannot see swaps of
    neighbours that talk; here a swap of adjacent slots is judged by the exact change of hops. Each round
    takes the tensest 30 % of the pairs (our choice; the paper's figure is not known to us), until a
    round finds none.
    """
    board = board_for(talk, chip, over_whole_mesh(slot_table(chip))[: talk.cores])
    pairs = _adjacent(board)
    while True:
        gains = _gains(board, pairs)
        order = np.argsort(-gains, kind="stable")[: int(TENSE * len(pairs)) + 1]
        if not _swap_what_gains(board, pairs[order[gains[order] > LEAST_GAIN]]):
            return board.slot_of


def particle_swarm(talk: Talk, chip: Chip, seed: int = 0) -> Counts:
    """SpiNeMap's second step: a particle swarm over priorities; a particle's order fills the mesh row by row.

    Variant: hops as the fitness, 40 particles, 150 rounds (the published settings are not known to us).
    """
    random = np.random.default_rng(seed)
    slots = row_major(talk, chip)
    board = board_for(talk, chip, slots)
    place = random.random((PARTICLES, talk.cores))
    place[0] = np.arange(talk.cores) / talk.cores
    speed = np.zeros_like(place)
    own, own_hops = place.copy(), np.full(PARTICLES, np.inf)
    best, best_hops = place[0], np.inf
    for _ in range(ROUNDS):
        for particle in range(PARTICLES):
            board.put(slots[np.argsort(np.argsort(place[particle], kind="stable"))])
            hops = board.hops
            if hops < own_hops[particle]:
                own[particle], own_hops[particle] = place[particle], hops
            if hops < best_hops:
                best, best_hops = place[particle].copy(), hops
        pull = OWN * random.random(place.shape) * (own - place) + BEST * random.random(place.shape) * (
            best - place
        )
        speed = INERTIA * speed + pull
        place = place + speed
    return slots[np.argsort(np.argsort(best, kind="stable"))]


@njit(cache=True)
def _gain(board: Board, a: int, b: int) -> float:  # pragma: no cover - compiled
    """Hops saved by swapping what is in two slots."""
    core, slot = (board.core_at[a], b) if board.core_at[a] >= 0 else (board.core_at[b], a)
    return swap_gain(board, core, slot) if core >= 0 else 0.0


@njit(cache=True)
def _gains(board: Board, pairs: Counts) -> Weights:  # pragma: no cover - compiled
    gains = np.empty(len(pairs))
    for number in range(len(pairs)):
        gains[number] = _gain(board, pairs[number, 0], pairs[number, 1])
    return gains


@njit(cache=True)
def _swap_what_gains(board: Board, pairs: Counts) -> int:  # pragma: no cover - compiled
    """Swap pair after pair, where that still saves hops; how many were swapped."""
    moved = 0
    for number in range(len(pairs)):
        a, b = pairs[number]
        if _gain(board, a, b) > LEAST_GAIN:
            one, two = board.core_at[a], board.core_at[b]
            board.core_at[a], board.core_at[b] = two, one
            if one >= 0:
                board.slot_of[one] = b
            if two >= 0:
                board.slot_of[two] = a
            moved += 1
    return moved


def _adjacent(board: Board) -> Counts:
    """Pairs of slots at neighbouring routers."""
    at = board.slots_at[:, :, 0]
    right = np.stack([at[:-1].ravel(), at[1:].ravel()], 1)
    down = np.stack([at[:, :-1].ravel(), at[:, 1:].ravel()], 1)
    pairs = np.concatenate([right, down])
    return pairs[(pairs >= 0).all(1)]
