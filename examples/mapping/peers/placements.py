"""How the literature puts clusters on a mesh."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.placing.graph import Counts, Talk
from spikeloom.compiler.mapping.placing.place import Plan, plan_for, slot_table
from spikeloom.compiler.mapping.placing.refine import swap_gain
from spikeloom.compiler.mapping.placing.starts import over_whole_mesh

PARTICLES, ROUNDS = 40, 150
INERTIA, OWN, BEST = 0.7, 1.4, 1.4
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
    plan = plan_for(talk, chip, over_whole_mesh(slot_table(chip))[: talk.cores])
    pairs = _adjacent(plan)
    while True:
        gains = swap_gains(plan, pairs)
        order = np.argsort(-gains, kind="stable")
        tense = [number for number in order[: int(TENSE * len(order)) + 1].tolist() if gains[number] > 1e-9]
        moved = sum(_swap_if_better(plan, *pairs[number].tolist()) for number in tense)
        if not moved:
            return plan.slot_of


def particle_swarm(talk: Talk, chip: Chip, seed: int = 0) -> Counts:
    """SpiNeMap's second step: a particle swarm over priorities; a particle's order fills the mesh row by row.

    Variant: hops as the fitness, 40 particles, 150 rounds (the published settings are not known to us).
    """
    random = np.random.default_rng(seed)
    slots = row_major(talk, chip)
    plan = plan_for(talk, chip, slots)
    place = random.random((PARTICLES, talk.cores))
    place[0] = np.arange(talk.cores) / talk.cores
    speed = np.zeros_like(place)
    own, own_hops = place.copy(), np.full(PARTICLES, np.inf)
    best, best_hops = place[0], np.inf
    for _ in range(ROUNDS):
        for particle in range(PARTICLES):
            plan.slot_of = slots[np.argsort(np.argsort(place[particle], kind="stable"))]
            hops = plan.hops
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


def swap_gains(plan: Plan, pairs: Counts) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Hops saved by swapping what is in each pair of slots."""
    return np.array([_gain(plan, a, b) for a, b in pairs.tolist()])


def _gain(plan: Plan, a: int, b: int) -> float:
    core, slot = (int(plan.core_at[a]), b) if plan.core_at[a] >= 0 else (int(plan.core_at[b]), a)
    if core < 0:
        return 0.0
    talk = plan.talk
    weight = talk.sent + talk.received
    where = (plan.slot_of, plan.core_at, plan.columns, plan.rows)
    return float(swap_gain(core, slot, *where, talk.first, talk.other, weight))


def _swap_if_better(plan: Plan, a: int, b: int) -> bool:
    if _gain(plan, a, b) <= 1e-9:
        return False
    first, second = int(plan.core_at[a]), int(plan.core_at[b])
    plan.core_at[a], plan.core_at[b] = second, first
    if first >= 0:
        plan.slot_of[first] = b
    if second >= 0:
        plan.slot_of[second] = a
    return True


def _adjacent(plan: Plan) -> Counts:
    """Pairs of slots at neighbouring routers."""
    at = plan.slots_at[:, :, 0]
    right = np.stack([at[:-1].ravel(), at[1:].ravel()], 1)
    down = np.stack([at[:, :-1].ravel(), at[:, 1:].ravel()], 1)
    pairs = np.concatenate([right, down])
    return pairs[(pairs >= 0).all(1)]
