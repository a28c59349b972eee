"""Fewer cores: what is on the emptiest is cut and moved into the gaps of the others.

Tiles of good shape seldom fill cores to the brim. Where packing took more cores than it should, the cores
that hold least are given up one after the other, each only if all that it holds finds room elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import Demand, tile_demand, violations
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.tiling.pack import Group
from spikeloom.compiler.mapping.tiling.tiles import Piece

TRIED = 12
"""So many gaps are tried for a tile, those that take most of it, and as many on cores that hold its like."""

SLIVER = 0.004
"""Nothing is cut smaller than this share of a core's neurons, unless it is smaller already."""

GIVEN_UP = 24
"""So many cores in a row may turn out not to be movable."""

DEAREST = 0.02
"""A core is given up for at most this share of all messages."""


def dissolve(
    network: Network, chip: Chip, rates: Mapping[str, float], groups: Sequence[Group], most: int
) -> list[Group]:
    """The same tiles, some of them cut, on at most ``most`` cores, or on as few as could be reached.

    Args:
        network: whose tiles they are.
        chip: limits of a core.
        rates: messages a neuron and step, by population.
        groups: one a core.
        most: cores that there should be.
    """
    cores = _Cores(network, chip, rates, groups)
    failed = 0
    most_added = DEAREST * sum(group.demand.arriving(rates) for group in groups)
    for core in cores.emptiest_first():
        if cores.count <= most or failed == GIVEN_UP:
            break
        failed = 0 if cores.give_up(core, most_added) else failed + 1
    return cores.groups()


class _Cores:
    """Cores under change."""

    def __init__(
        self, network: Network, chip: Chip, rates: Mapping[str, float], groups: Sequence[Group]
    ) -> None:
        self._network = network
        self._chip = chip
        self._rates = rates
        self._groups: list[Group | None] = list(groups)
        self._limits = np.array([limit.value for limit in chip.limits], np.int64)
        self._used = np.array([self._amounts(group.demand) for group in groups], np.int64)
        self.count = len(groups)

    def groups(self) -> list[Group]:
        return [group for group in self._groups if group is not None]

    def emptiest_first(self) -> list[int]:
        fullest: NDArray[np.float64] = (self._used / self._limits).max(1)
        order: list[int] = np.argsort(fullest, kind="stable").tolist()
        return order

    def give_up(self, core: int, most_added: float) -> bool:
        """Move all that a core holds for few more messages, or change nothing."""
        group = self._groups[core]
        assert group is not None
        before = self._used.copy()
        kept: dict[int, Group] = {core: group}
        self._groups[core] = None
        self._used[core] = self._limits
        waiting = list(group.pieces)
        added = -group.demand.arriving(self._rates)
        while waiting:
            piece = waiting.pop()
            found = self._best(piece)
            added += found[0] if found is not None else 0.0
            if found is None or added > most_added:
                self._used = before
                for number, one in kept.items():
                    self._groups[number] = one
                return False
            _, target, part = found
            old = self._groups[target]
            assert old is not None
            kept.setdefault(target, old)
            new = Group((*old.pieces, part), old.demand.with_tile(part.demand))
            self._groups[target] = new
            self._used[target] = self._amounts(new.demand)
            waiting += [self._piece(piece.population, rest) for rest in piece.box.without(part.box)]
        self.count -= 1
        return True

    def _best(self, piece: Piece) -> tuple[float, int, Piece] | None:
        """The messages, the core and the part of a tile that add fewest messages a neuron."""
        need = np.maximum(self._amounts(piece.demand), 1)
        takes: NDArray[np.float64] = ((self._limits - self._used) / need).min(1)
        best: tuple[float, int, Piece] | None = None
        order: list[int] = np.argsort(-takes, kind="stable").tolist()
        akin = (core for core in order if self._holds(core, piece.population))
        for core in dict.fromkeys((*islice(akin, TRIED), *order[:TRIED])):
            group = self._groups[core]
            if group is None:
                continue
            before = group.demand.arriving(self._rates)
            for part in self._fitting(group.demand, piece):
                cost = group.demand.with_tile(part.demand).arriving(self._rates) - before
                rank = cost / part.box.size
                if best is None or rank < best[0]:
                    best = rank, core, part
        return None if best is None else (best[0] * best[2].box.size, *best[1:])

    def _holds(self, core: int, population: str) -> bool:
        group = self._groups[core]
        return group is not None and population in group.demand.holds

    def _fitting(self, held: Demand, piece: Piece) -> Iterator[Piece]:
        """The tile if a core has room for it, or the largest part along each axis that does."""
        if self._fits(held, piece):
            yield piece
            return
        least = min(SLIVER * self._chip.neurons, piece.box.size)
        whole = self._network.population(piece.population).together
        for axis, (start, stop) in enumerate(piece.box.ranges):
            if axis in whole:
                continue
            low, high = start, stop
            while high - low > 1:
                middle = (low + high) // 2
                fits = self._fits(held, self._piece(piece.population, _until(piece.box, axis, middle)))
                low, high = (middle, high) if fits else (low, middle)
            if low > start:
                part = _until(piece.box, axis, low)
                if part.size >= least:
                    yield self._piece(piece.population, part)

    def _fits(self, held: Demand, piece: Piece) -> bool:
        if held.neurons + piece.demand.neurons > self._chip.neurons:
            return False
        both = held.with_tile(piece.demand)
        return not violations(both.uses(self._network, self._chip), self._chip)

    def _piece(self, population: str, box: Box) -> Piece:
        demand = tile_demand(self._network, self._network.population(population), box)
        return Piece(population, box, demand)

    def _amounts(self, demand: Demand) -> NDArray[np.int64]:
        uses = demand.uses(self._network, self._chip)
        return np.array([uses[limit.name] for limit in self._chip.limits], np.int64)


def _until(box: Box, axis: int, stop: int) -> Box:
    start, _ = box.ranges[axis]
    return Box((*box.ranges[:axis], (start, stop), *box.ranges[axis + 1 :]))
