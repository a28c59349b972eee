"""Which tiles share a core: by what they save together, and cut to fill gaps.

Tiles whose kernels fill a core's memory come first. What needs hardly any memory (pools, products of
attention, layers of small kernels) is then cut to the room that is left, where it saves most messages;
the rest of it gets cores of its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import Demand, tile_demand, violations
from spikeloom.compiler.mapping.leftover import Leftover
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.shapes import memory_share
from spikeloom.compiler.mapping.tiles import Piece

NEIGHBOURS = 10
"""Cores of one related population that are tried for a tile."""

NARROW = 0.015
"""Gaps below this share of a core's neurons are not filled by cutting."""

SMALLEST = 0.004
"""Nothing is cut smaller than this share of a core's neurons."""

HORIZON = 4096
"""So many of the last cores are looked at for a tile that saves nothing anywhere."""

MANY = 20_000
"""Mappings onto more cores fill gaps in order of width only, not where that saves messages."""

WIDEST = 60
"""So many gaps are tried for a part of a tile."""


@dataclass(frozen=True)
class Group:
    """Tiles that share a core, and what they need together."""

    pieces: tuple[Piece, ...]
    demand: Demand


class Packing:
    """Cores that fill up.

    Args:
        network: whose populations are packed.
        chip: limits of a core.
        rates: messages a neuron and step, by population.
    """

    def __init__(self, network: Network, chip: Chip, rates: Mapping[str, float]) -> None:
        self._network = network
        self._chip = chip
        self._rates = rates
        self._limits = np.array([limit.value for limit in chip.limits], np.int64)
        self._pieces: list[list[Piece]] = []
        self._demands: list[Demand] = []
        self._arriving: list[float] = []
        self._stuck: dict[str, NDArray[np.bool_]] = {}
        self._neurons = [limit.name for limit in chip.limits].index("neurons")
        self._filled = np.zeros((64, len(self._limits)), np.int64)
        self._where = _Places(network)
        self._related = {one.name: _related(network, one.name) for one in network.placed}

    @property
    def cores(self) -> int:
        """How many there are."""
        return len(self._pieces)

    def groups(self) -> list[Group]:
        """The cores in the order in which they were opened."""
        return [
            Group(tuple(pieces), demand) for pieces, demand in zip(self._pieces, self._demands, strict=True)
        ]

    def room(self) -> int:
        """Neurons that still fit the cores there are."""
        return sum(self._chip.neurons - demand.neurons for demand in self._demands)

    def add(self, pieces: Sequence[Piece]) -> None:
        """Put tiles together on the core where they save most, or on a new one."""
        demand = _together(pieces)
        best, core = -1.0, -1
        for candidate in self._candidates(pieces):
            gain = self._gain(candidate, demand)
            if gain is not None and gain > best:
                best, core = gain, candidate
        if core < 0:
            core = self._any_core(demand)
        self._put(core, pieces, demand)

    def is_heavy(self, pieces: Sequence[Piece]) -> bool:
        """Whether tiles together use more than half of some limit but neurons."""
        return memory_share(_together(pieces).uses(self._network, self._chip), self._chip) > 0.5

    def open(self, pieces: Sequence[Piece]) -> None:
        """Put tiles together on a new core."""
        self._put(-1, pieces, _together(pieces))

    def fill(self, boxes: Mapping[str, list[Box]], most: int) -> None:
        """Put boxes of populations that may be cut onto cores.

        First to gaps where that saves messages. Then those that suffer most from being cut small go to
        cores of their own, as long as there may be more, and to the widest gaps.
        """
        left = {name: Leftover(parts) for name, parts in boxes.items()}
        base = {name: self._per_neuron(name, parts[0]) for name, parts in boxes.items()}
        if most <= MANY:
            self._fill_where_it_saves(left, base)
        rest = {name: parts for name, one in left.items() if (parts := one.boxes())}
        fragile = {name: self._fragility(name, parts) for name, parts in rest.items()}
        for name in sorted(fragile, key=lambda name: (-fragile[name], name)):
            self._spread(name, rest[name], most)

    def _spread(self, name: str, parts: list[Box], most: int) -> None:
        """Whole tiles to cores of their own while there may be more, then cut to the widest gaps."""
        population = self._network.population(name)
        waiting = sorted(parts, key=lambda box: (-box.size, box.ranges))
        while waiting:
            box = waiting.pop(0)
            piece = Piece(name, box, tile_demand(self._network, population, box))
            small = 2 * box.size < self._chip.neurons
            core = self._any_core(piece.demand) if small or self.cores >= most else -1
            if core < 0 and self.cores >= most:
                cut = self._cut_to_widest(name, box)
                if cut is not None:
                    self._put(*cut)
                    waiting[:0] = box.without(cut[1][0].box)
                    continue
            self._put(core, [piece], piece.demand)

    def _cut_to_widest(self, name: str, box: Box) -> tuple[int, list[Piece], Demand] | None:
        """The part of a box that costs least in the widest gap where one fits."""
        rooms = self._limits[self._neurons] - self._filled[: self.cores, self._neurons]
        stuck = self._stuck.get(name, np.zeros(0, np.bool_))
        if len(stuck) < self.cores:
            stuck = self._stuck[name] = np.concatenate([stuck, np.zeros(2 * self.cores, np.bool_)])
        wide = np.flatnonzero((rooms > NARROW * self._chip.neurons) & ~stuck[: self.cores])
        for core in wide[np.argsort(-rooms[wide], kind="stable")][:WIDEST].tolist():
            best: tuple[float, Piece] | None = None
            for piece in self._cuts_to_room(core, name, box):
                gain = self._gain(core, piece.demand)
                if gain is not None:
                    cost = (piece.demand.arriving(self._rates) - gain) / piece.box.size
                    best = (cost, piece) if best is None or cost < best[0] else best
            if best is not None:
                return core, [best[1]], best[1].demand
            stuck[core] = True
        return None

    def _fragility(self, name: str, boxes: Sequence[Box]) -> float:
        """How many more messages a neuron needs in small parts than in whole tiles."""
        parts = _parts(boxes[0], self._chip.neurons // 8)
        return min(self._per_neuron(name, part) for part in parts) - self._per_neuron(name, boxes[0])

    def _per_neuron(self, name: str, box: Box) -> float:
        demand = tile_demand(self._network, self._network.population(name), box)
        return demand.arriving(self._rates) / box.size

    def _fill_where_it_saves(self, left: Mapping[str, Leftover], base: Mapping[str, float]) -> None:
        tickets = count()
        heap = [
            (-density, next(tickets), core, piece)
            for core in range(self.cores)
            for density, piece in self._offer(core, left, base)
        ]
        heapq.heapify(heap)
        while heap:
            density, _, core, piece = heapq.heappop(heap)
            if density < 0 and self._put_if_left(core, piece, left):
                for density, more in self._offer(core, left, base):
                    heapq.heappush(heap, (-density, next(tickets), core, more))

    def _put_if_left(self, core: int, piece: Piece, left: Mapping[str, Leftover]) -> bool:
        if self._gain(core, piece.demand) is None or not left[piece.population].take(piece.box):
            return False
        self._put(core, [piece], piece.demand)
        return True

    def _offer(
        self, core: int, left: Mapping[str, Leftover], base: Mapping[str, float]
    ) -> Iterator[tuple[float, Piece]]:
        """What would fill a core best: messages saved a neuron, against tiles of good shape elsewhere.

        From each population the parts that talk to the core are tried.
        """
        if self._room(core) < NARROW * self._chip.neurons:
            return
        best: tuple[float, Piece] | None = None
        for name, boxes in left.items():
            for box in self._affine(core, name, boxes):
                for piece in self._cuts_to_room(core, name, box):
                    gain = self._gain(core, piece.demand)
                    if gain is None:
                        continue
                    cost = piece.demand.arriving(self._rates) - gain
                    density = base[name] - cost / piece.box.size
                    if best is None or density > best[0]:
                        best = density, piece
        if best is not None:
            yield best

    def _affine(self, core: int, name: str, boxes: Leftover) -> list[Box]:
        """The parts of some boxes of a population that talk to or hear from what is on a core."""
        holds = self._demands[core].holds
        wanted: list[Box] = []
        for number in self._network.into(name):
            projection = self._network.projections[number]
            for held in holds.get(projection.source, ()):
                wanted += projection.feeds(held)[:2]
        for number in self._network.out_of(name):
            projection = self._network.projections[number]
            for held in holds.get(projection.target, ()):
                wanted += projection.reads(held)[:2]
        found = {part: None for want in dict.fromkeys(wanted[:4]) for part in boxes.parts_in(want)}
        return sorted(found, key=lambda box: (-box.size, box.ranges))[:3]

    def _cuts_to_room(self, core: int, name: str, box: Box) -> Iterator[Piece]:
        """Parts of a box, each cut along one axis, that have no more neurons than a core has room for."""
        room = self._room(core)
        population = self._network.population(name)
        least = min(SMALLEST * self._chip.neurons, box.size)
        for part in _parts(box, room):
            if part.size >= least:
                yield Piece(name, part, tile_demand(self._network, population, part))

    def _room(self, core: int) -> int:
        return self._chip.neurons - self._demands[core].neurons

    def _candidates(self, pieces: Sequence[Piece]) -> Iterable[int]:
        found: dict[int, None] = {}
        for piece in pieces:
            for name in self._related[piece.population]:
                for core in self._where.near(name, piece):
                    found[core] = None
        return found

    def _gain(self, core: int, demand: Demand) -> float | None:
        """Messages saved if a core takes something more; None if it does not fit."""
        held = self._demands[core]
        if held.neurons + demand.neurons > self._chip.neurons:
            return None
        both = held.with_tile(demand)
        if violations(both.uses(self._network, self._chip), self._chip):
            return None
        return self._arriving[core] + demand.arriving(self._rates) - both.arriving(self._rates)

    def _any_core(self, demand: Demand) -> int:
        """The fullest of the last cores on which the sum of both needs fits, or none."""
        first = max(self.cores - HORIZON, 0)
        sums = self._filled[first : self.cores] + self._amounts(demand)
        roomy = np.flatnonzero((sums <= self._limits).all(1))
        if not len(roomy):
            return -1
        shares: NDArray[np.float64] = (sums[roomy] / self._limits).sum(1)
        return first + int(roomy[np.argmax(shares)])

    def _put(self, core: int, pieces: Sequence[Piece], demand: Demand) -> None:
        if core < 0:
            core = len(self._pieces)
            self._pieces.append([])
            self._demands.append(demand)
            self._arriving.append(0.0)
            if core == len(self._filled):
                self._filled = np.concatenate([self._filled, np.zeros_like(self._filled)])
        else:
            self._demands[core] = self._demands[core].with_tile(demand)
        self._pieces[core] += pieces
        self._arriving[core] = self._demands[core].arriving(self._rates)
        self._filled[core] = self._amounts(self._demands[core])
        for piece in pieces:
            self._where.add(piece, core)

    def _amounts(self, demand: Demand) -> NDArray[np.int64]:
        uses = demand.uses(self._network, self._chip)
        return np.array([uses[limit.name] for limit in self._chip.limits], np.int64)


class _Places:
    """Which cores hold something of a population near a place in it."""

    def __init__(self, network: Network) -> None:
        self._shapes = {one.name: one.shape for one in network.populations}
        self._cells: dict[tuple[str, int, int], list[int]] = {}

    def add(self, piece: Piece, core: int) -> None:
        cores = self._cells.setdefault((piece.population, *self._cell(piece)), [])
        if core not in cores:
            cores.append(core)

    def near(self, name: str, piece: Piece) -> list[int]:
        """The last cores there that were added."""
        return self._cells.get((name, *self._cell(piece)), [])[-NEIGHBOURS:]

    def _cell(self, piece: Piece) -> tuple[int, int]:
        """Tiles of images are kept by place, in a grid as fine as 64 by 64; others together."""
        shape = self._shapes[piece.population]
        if len(shape) != 3 or shape[1] * shape[2] < 1024:
            return 0, 0
        grid = min(64, shape[1] // 16, shape[2] // 16)
        row, column = (
            (start + stop) * grid // (2 * size)
            for (start, stop), size in zip(piece.box.ranges[1:], shape[1:], strict=True)
        )
        return row, column


def _related(network: Network, name: str) -> list[str]:
    """Populations that a tile may share spikes with: itself, sources, targets, other readers of sources."""
    into = [network.projections[number].source for number in network.into(name)]
    out = [network.projections[number].target for number in network.out_of(name)]
    beside = [network.projections[number].target for source in into for number in network.out_of(source)]
    placed = {one.name for one in network.placed}
    return [other for other in dict.fromkeys([name, *out, *into, *beside]) if other in placed][:12]


def _together(pieces: Sequence[Piece]) -> Demand:
    demand = pieces[0].demand
    for piece in pieces[1:]:
        demand = demand.with_tile(piece.demand)
    return demand


def _parts(box: Box, room: int) -> list[Box]:
    """Parts of at most ``room`` neurons that begin where the box does, each cut along one axis.

    >>> [part.ranges for part in _parts(Box(((0, 4), (0, 10))), 25)]
    [((0, 2), (0, 10)), ((0, 4), (0, 6))]
    """
    if box.size <= room:
        return [box]
    found = []
    for axis, (start, stop) in enumerate(box.ranges):
        depth = room // (box.size // (stop - start))
        if depth:
            found.append(Box((*box.ranges[:axis], (start, start + depth), *box.ranges[axis + 1 :])))
    if not found and max(box.shape) > 1:
        axis = int(np.argmax(box.shape))
        low, high = box.ranges[axis]
        half = (low, low + (high - low) // 2)
        return _parts(Box((*box.ranges[:axis], half, *box.ranges[axis + 1 :])), room)
    return found
