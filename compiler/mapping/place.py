"""Which core goes to which slot of the chip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.chip import Chip

PASSES = 4
REACH = 1
"""Routers around the best place that are tried."""

Places = NDArray[np.int64]


def place(pairs: Places, weight: NDArray[np.float64], cores: int, chip: Chip, seed: int) -> Places:
    """A slot for every core, such that cores that talk much are near each other.

    Cores are laid along a Hilbert curve in the order given, chip by chip, then moved: each in turn
    goes to the weighted median of the cores that it talks to, or swaps with what is there, if that
    saves hops. The order of the turns is drawn from the seed.

    Args:
        pairs: [flows, 2], numbers of cores that exchange messages.
        weight: messages of each pair.
        cores: how many there are.
        chip: with at least as many usable cores.
        seed: of the order.

    Returns:
        [cores], numbers of slots, all different.
    """
    slots = np.array([chip.position(slot) for slot in range(chip.cores)], np.int64)
    curve = _curve(slots, chip)
    plan = _Plan(slots[:, 1:], curve[:cores].copy(), pairs, weight)
    random = np.random.default_rng(seed)
    for _ in range(PASSES):
        if not sum([plan.improve(int(core)) for core in random.permutation(cores)]):
            break
    return plan.slot_of


class _Plan:
    """A placement and what it takes to judge a change of it."""

    def __init__(
        self, positions: Places, slot_of: Places, pairs: Places, weight: NDArray[np.float64]
    ) -> None:
        self.slot_of = slot_of
        self._positions = positions
        self._core_at = np.full(len(positions), -1, np.int64)
        self._core_at[slot_of] = np.arange(len(slot_of))
        self._neighbours, self._weights = _adjacency(pairs, weight, len(slot_of))
        self._slots_at: dict[tuple[int, int], list[int]] = {}
        for slot, (column, row) in enumerate(positions.tolist()):
            self._slots_at.setdefault((column, row), []).append(slot)

    def improve(self, core: int) -> bool:
        """Move a core towards those that it talks to; whether it did."""
        neighbours, weights = self._neighbours[core], self._weights[core]
        if not len(neighbours):
            return False
        around = self._positions[self.slot_of[neighbours]]
        column, row = (_median(around[:, axis], weights) for axis in (0, 1))
        span = range(-REACH, REACH + 1)
        slots = [s for dx in span for dy in span for s in self._slots_at.get((column + dx, row + dy), ())]
        candidates = np.array([slot for slot in slots if slot != self.slot_of[core]], np.int64)
        if not len(candidates):
            return False
        costs = self._costs(core, np.append(candidates, self.slot_of[core]))
        gains = costs[-1] - costs[:-1]
        for number in np.argsort(-gains, kind="stable"):
            if gains[number] <= 0:
                return False
            if gains[number] + self._gain_of_other(core, int(candidates[number])) > 1e-9:
                self._swap(core, int(candidates[number]))
                return True
        return False

    def _gain_of_other(self, core: int, slot: int) -> float:
        """What the core in ``slot`` saves by going where ``core`` is; the pair's own distance stays."""
        other = int(self._core_at[slot])
        if other < 0:
            return 0.0
        here = self.slot_of[core]
        costs = self._costs(other, np.array([slot, here]))
        between = self._weights[core][self._neighbours[core] == other].sum()
        apart = np.abs(self._positions[slot] - self._positions[here]).sum()
        return float(costs[0] - costs[1] - 2 * between * apart)

    def _costs(self, core: int, slots: Places) -> NDArray[np.float64]:
        """Hops times messages of a core if it were in each of some slots."""
        around = self._positions[self.slot_of[self._neighbours[core]]]
        distance = np.abs(self._positions[slots][:, None] - around[None]).sum(-1)
        costs: NDArray[np.float64] = distance @ self._weights[core]
        return costs

    def _swap(self, core: int, slot: int) -> None:
        here, other = int(self.slot_of[core]), int(self._core_at[slot])
        self.slot_of[core], self._core_at[slot], self._core_at[here] = slot, core, other
        if other >= 0:
            self.slot_of[other] = here


def _adjacency(
    pairs: Places, weight: NDArray[np.float64], cores: int
) -> tuple[Sequence[Places], Sequence[NDArray[np.float64]]]:
    """For each core the cores that it talks to, and how much."""
    ends = np.concatenate([pairs, pairs[:, ::-1]])
    loads = np.concatenate([weight, weight])
    keys, inverse = np.unique(ends[:, 0] * cores + ends[:, 1], return_inverse=True)
    totals = np.bincount(inverse, loads, len(keys))
    first, second = keys // cores, keys % cores
    edges = np.searchsorted(first, np.arange(1, cores))
    return np.split(second, edges), np.split(totals, edges)


def _median(values: Places, weights: NDArray[np.float64]) -> int:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return int(values[order][np.searchsorted(reached, reached[-1] / 2)])


def _curve(slots: Places, chip: Chip) -> Places:
    """Slots chip by chip (every other row of chips backwards), along a Hilbert curve in each."""
    side = 1
    while side < max(chip.mesh.columns, chip.mesh.rows):
        side *= 2
    tall = chip.mesh.rows >= chip.mesh.columns

    def key(slot: int) -> tuple[int, int, int, int]:
        number, column, row = slots[slot].tolist()
        chip_row, chip_column = divmod(number, chip.chip_columns)
        x, y = column % chip.mesh.columns, row % chip.mesh.rows
        turn = chip_column if chip_row % 2 == 0 else -chip_column
        return chip_row, turn, _hilbert(side, x, y) if tall else _hilbert(side, y, x), slot

    return np.array(sorted(range(len(slots)), key=key), np.int64)


def _hilbert(side: int, x: int, y: int) -> int:
    """Distance along a Hilbert curve over a square of routers (Hilbert, Math. Annalen 38, 1891)."""
    distance = 0
    half = side // 2
    while half:
        right, up = int(bool(x & half)), int(bool(y & half))
        distance += half * half * ((3 * right) ^ up)
        if not up:
            if right:
                x, y = side - 1 - x, side - 1 - y
            x, y = y, x
        half //= 2
    return distance
