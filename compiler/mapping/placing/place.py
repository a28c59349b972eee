"""Which core goes to which slot of the chip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.placing.graph import Counts, Talk, talk_of
from spikeloom.compiler.mapping.placing.refine import anneal, link_loads, median_swaps
from spikeloom.compiler.mapping.placing.starts import (
    along_curve,
    by_axes,
    chips_first,
    compact,
    over_whole_mesh,
)

PASSES = 12
REACH = 1
"""Routers around the best place that are tried."""

MOST_MOVES = 1_500_000
MOVES_A_CORE = 3_000
"""Moves of the annealing, a core, and in all."""

STRAIN = 1.0
"""Weight of strained links against hops in the annealing."""

MANY = 40_000
"""Placements of more cores have one start, few passes of swaps and no annealing."""

FEW_PASSES = 8


@dataclass
class Plan:
    """A placement under way, as compiled loops take it.

    Attributes:
        talk: between the cores.
        columns, rows: of every slot.
        slots_at: [columns, rows, cores a router], slots, -1 if there is none.
        slot_of: of every core.
        core_at: of every slot, -1 if empty.
    """

    talk: Talk
    columns: Counts
    rows: Counts
    slots_at: Counts
    slot_of: Counts
    core_at: Counts

    @property
    def hops(self) -> float:
        """Messages times routers on the way."""
        here, there = self.slot_of[self.talk.owner], self.slot_of[self.talk.other]
        apart = abs(self.columns[here] - self.columns[there]) + abs(self.rows[here] - self.rows[there])
        return float((self.talk.sent * apart).sum())

    @property
    def busiest_link(self) -> float:
        """Messages on the link that carries most, with XY routes."""
        talk = self.talk
        width, height = self.slots_at.shape[:2]
        where = (self.slot_of, self.columns, self.rows, talk.first, talk.other, talk.sent)
        return float(link_loads(*where, width, height).max())

    def swap(self, seed: int, passes: int = PASSES) -> None:
        """Median-window swaps until none saves hops."""
        random = np.random.default_rng(seed)
        weight = self.talk.sent + self.talk.received
        for _ in range(passes):
            moved = median_swaps(
                random.permutation(self.talk.cores), self.slot_of, self.core_at, self.columns, self.rows,
                self.slots_at, self.talk.first, self.talk.other, weight, REACH,
            )  # fmt: skip
            if moved * 500 < self.talk.cores:
                break

    def anneal(self, seed: int, moves: int, strain: float = STRAIN) -> None:
        """Annealing from a temperature at which swaps of a fiftieth of a core's hops are taken."""
        if not self.hops or moves < 1:
            return
        hot = 2 * self.hops / self.talk.cores * 0.04
        anneal(
            self.slot_of, self.core_at, self.columns, self.rows, self.slots_at, self.talk.first,
            self.talk.other, self.talk.sent, self.talk.received, moves, hot, hot / 300, strain, seed + 1,
        )  # fmt: skip


def plan_for(talk: Talk, chip: Chip, slot_of: Counts) -> Plan:
    """A plan that begins with a slot for every core."""
    slots = slot_table(chip)
    width, height = chip.routers
    slots_at = np.full((width, height, chip.mesh.cores_per_router), -1, np.int64)
    router = slots[:, 2] * width + slots[:, 1]
    order = np.argsort(router, kind="stable")
    place = np.arange(len(slots)) - np.searchsorted(router[order], router[order])
    slots_at[slots[order, 1], slots[order, 2], place] = order
    core_at = np.full(len(slots), -1, np.int64)
    core_at[slot_of] = np.arange(talk.cores)
    columns, rows = np.ascontiguousarray(slots[:, 1]), np.ascontiguousarray(slots[:, 2])
    return Plan(talk, columns, rows, slots_at, slot_of.copy(), core_at)


def slot_table(chip: Chip) -> Counts:
    """[slots, 3]: chip, column and row of every usable core."""
    mesh = chip.mesh
    number, core = np.divmod(np.arange(chip.cores), mesh.usable_cores)
    row, column = np.divmod(core // mesh.cores_per_router, mesh.columns)
    chip_row, chip_column = np.divmod(number, chip.chip_columns)
    return np.stack([number, chip_column * mesh.columns + column, chip_row * mesh.rows + row], 1)


def place(
    pairs: Counts, weight: NDArray[np.float64], cores: int, chip: Chip, seed: int, effort: float = 1.0
) -> Counts:
    """A slot for every core, such that cores that talk much are near each other and no link is crowded.

    Starts from Hilbert curves in the order given and from the graph's spectrum, over the whole mesh and
    chip by chip; each is improved by median-window swaps, the best by annealing.

    Args:
        pairs: [flows, 2], numbers of cores that exchange messages.
        weight: messages of each pair.
        cores: how many there are.
        chip: with at least as many usable cores.
        seed: of the order of swaps and of the annealing.
        effort: share of the annealing's moves; 0 leaves it out.

    Returns:
        [cores], numbers of slots, all different.
    """
    talk = talk_of(pairs, weight, cores)
    plans = [plan_for(talk, chip, start) for start in _starts(talk, chip)]
    for plan in plans:
        plan.swap(seed, PASSES if cores <= MANY else FEW_PASSES)
    best = min(plans, key=lambda plan: plan.hops)
    if cores <= MANY:
        best.anneal(seed, int(effort * min(MOVES_A_CORE * cores, MOST_MOVES)))
        best.swap(seed, passes=2)
    return best.slot_of


def _starts(talk: Talk, chip: Chip) -> list[Counts]:
    slots = slot_table(chip)
    if talk.cores > MANY:
        return [along_curve(slots, chip)[: talk.cores]]
    chosen = compact(slots, talk.cores)
    starts = [along_curve(slots, chip)[: talk.cores], by_axes(talk, slots, chosen)]
    if chip.chips > 1:
        starts += [over_whole_mesh(slots)[: talk.cores], chips_first(talk, slots, chosen)]
    return starts
