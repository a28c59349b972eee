"""A placement under way, as compiled loops take it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.placing.graph import Counts, Talk, Weights


class Board(NamedTuple):
    """Slots, what is in them, and who talks to whom.

    Attributes:
        columns, rows: of every slot.
        slots_at: [columns, rows, cores a router], slots, -1 if there is none.
        slot_of: of every core; changed in place.
        core_at: of every slot, -1 if empty; changed in place.
        first, other, sent, received: of the :class:`Talk` between the cores.
        weight: sent and received.
    """

    columns: Counts
    rows: Counts
    slots_at: Counts
    slot_of: Counts
    core_at: Counts
    first: Counts
    other: Counts
    sent: Weights
    received: Weights
    weight: Weights

    @property
    def cores(self) -> int:
        """How many cores."""
        return len(self.slot_of)

    @property
    def hops(self) -> float:
        """Messages times routers on the way."""
        here, there = np.repeat(self.slot_of, np.diff(self.first)), self.slot_of[self.other]
        apart = abs(self.columns[here] - self.columns[there]) + abs(self.rows[here] - self.rows[there])
        return float((self.sent * apart).sum())

    def put(self, slot_of: Counts) -> None:
        """Every core into the slot given."""
        self.core_at[:] = -1
        self.slot_of[:] = slot_of
        self.core_at[slot_of] = np.arange(self.cores)


def board_for(talk: Talk, chip: Chip, slot_of: Counts) -> Board:
    """A board that begins with a slot for every core."""
    slots = slot_table(chip)
    width, height = chip.routers
    slots_at = np.full((width, height, chip.mesh.cores_per_router), -1, np.int64)
    router = slots[:, 2] * width + slots[:, 1]
    order = np.argsort(router, kind="stable")
    place = np.arange(len(slots)) - np.searchsorted(router[order], router[order])
    slots_at[slots[order, 1], slots[order, 2], place] = order
    columns, rows = np.ascontiguousarray(slots[:, 1]), np.ascontiguousarray(slots[:, 2])
    board = Board(
        columns,
        rows,
        slots_at,
        np.empty(talk.cores, np.int64),
        np.empty(len(slots), np.int64),
        talk.first,
        talk.other,
        talk.sent,
        talk.received,
        talk.sent + talk.received,
    )
    board.put(slot_of)
    return board


def slot_table(chip: Chip) -> Counts:
    """[slots, 3]: chip, column and row of every usable core."""
    mesh = chip.mesh
    number, core = np.divmod(np.arange(chip.cores), mesh.usable_cores)
    row, column = np.divmod(core // mesh.cores_per_router, mesh.columns)
    chip_row, chip_column = np.divmod(number, chip.chip_columns)
    return np.stack([number, chip_column * mesh.columns + column, chip_row * mesh.rows + row], 1)
