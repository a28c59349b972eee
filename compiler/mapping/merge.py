"""Which tiles share a core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import Demand, share, violations
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.tiles import Piece

LOOK_BACK = 8
"""How many cores with tiles of the same population are tried for a further one."""


@dataclass(frozen=True)
class Group:
    """Tiles that share a core, and what they need together."""

    pieces: tuple[Piece, ...]
    demand: Demand


def merge(pieces: Sequence[Piece], network: Network, chip: Chip) -> list[Group]:
    """Pack tiles onto few cores: first fit, the fullest first, ties in the order given.

    A core is tried first if it holds a tile of the same population: kernel slices, axons and
    parameter groups that both use then count once.
    """
    packing = _Packing(network, chip, len(pieces))
    fullness = [share(piece.demand.uses(network, chip), chip) for piece in pieces]
    for number in sorted(range(len(pieces)), key=lambda i: (-fullness[i], i)):
        packing.add(number, pieces[number])
    return packing.groups(pieces)


class _Packing:
    """Cores that fill up.

    Attributes:
        cores: numbers of the tiles on each.
    """

    def __init__(self, network: Network, chip: Chip, most: int) -> None:
        self.cores: list[list[int]] = []
        self._network = network
        self._chip = chip
        self._limits = np.array([limit.value for limit in chip.limits], np.int64)
        self._filled = np.zeros((most, len(self._limits)), np.int64)
        self._demands: list[Demand] = []
        self._holding: dict[str, list[int]] = {}

    def add(self, number: int, piece: Piece) -> None:
        core = self._beside_its_like(piece)
        if core is None:
            core = self._first_fit(piece)
        self.cores[core].append(number)
        self._filled[core] = self._amounts(self._demands[core])
        holding = self._holding.setdefault(piece.population, [])
        if core not in holding:
            holding.append(core)

    def groups(self, pieces: Sequence[Piece]) -> list[Group]:
        """The cores in the order of their first tiles."""
        cores = sorted(zip((sorted(core) for core in self.cores), self._demands, strict=True), key=_first)
        return [Group(tuple(pieces[number] for number in core), demand) for core, demand in cores]

    def _beside_its_like(self, piece: Piece) -> int | None:
        room = self._chip.neurons - piece.demand.neurons
        cores = [c for c in self._holding.get(piece.population, []) if self._demands[c].neurons <= room]
        for core in cores[-LOOK_BACK:]:
            both = self._demands[core].with_tile(piece.demand)
            if not violations(both.uses(self._network, self._chip), self._chip):
                self._demands[core] = both
                return core
        return None

    def _first_fit(self, piece: Piece) -> int:
        """A core on which the sum of both needs fits, or a new one."""
        sums = self._filled[: len(self.cores)] + self._amounts(piece.demand)
        roomy = np.flatnonzero((sums <= self._limits).all(1))
        if len(roomy):
            core = int(roomy[0])
            self._demands[core] = self._demands[core].with_tile(piece.demand)
            return core
        self.cores.append([])
        self._demands.append(piece.demand)
        return len(self.cores) - 1

    def _amounts(self, demand: Demand) -> NDArray[np.int64]:
        uses = demand.uses(self._network, self._chip)
        return np.array([uses[limit.name] for limit in self._chip.limits], np.int64)


def _first(core: tuple[list[int], Demand]) -> int:
    return core[0][0]
