"""Which tiles share a core: by what they save together, and cut to fill gaps.

Tiles whose kernels fill a core's memory come first. What needs hardly any memory (pools, products of
attention, layers of small kernels) is then cut to the room that is left, where it saves most messages;
the rest of it gets cores of its own.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import prod

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import Demand, violations
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.tiling.gaps import Gaps
from spikeloom.compiler.mapping.tiling.leftover import Leftover
from spikeloom.compiler.mapping.tiling.shapes import Family, memory_share, needed_by, pieces_of
from spikeloom.compiler.mapping.tiling.tiles import Piece

NEIGHBOURS = 10
"""Cores of one related population that are tried for a tile."""

NARROW = 0.015
"""Gaps below this share of a core's neurons are not filled by cutting."""

SMALLEST = 0.004
"""Nothing is cut smaller than this share of a core's neurons."""

HORIZON = 4096
"""So many of the last cores are looked at for a tile that saves nothing anywhere."""

MANY = 20_000
"""Mappings onto more cores fill gaps in order of width only, not where that saves messages; what fills them
is cut along the axis that was best for the one before."""


@dataclass(frozen=True)
class Group:
    """Tiles that share a core, and what they need together."""

    pieces: tuple[Piece, ...]
    demand: Demand


@dataclass(frozen=True)
class Part:
    """Tiles of a family that may be cut.

    Attributes:
        family: whose they are.
        box: of a member.
        pieces: what the box holds of each population.
        demand: of all together.
    """

    family: Family
    box: Box
    pieces: Sequence[Piece]
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
        demand = needed_by(pieces)
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
        return memory_share(needed_by(pieces).uses(self._network, self._chip), self._chip) > 0.5

    def open(self, pieces: Sequence[Piece]) -> None:
        """Put tiles together on a new core."""
        self._put(-1, pieces, needed_by(pieces))

    def fill(self, boxes: Mapping[Family, list[Box]], most: int) -> None:
        """Put boxes of families that may be cut onto cores.

        First to gaps where that saves messages. Then those that suffer most from being cut small go to
        cores of their own, as long as there may be more, and to the widest gaps.
        """
        left = {family: Leftover(parts) for family, parts in boxes.items()}
        base = {family: self._per_neuron(family, parts[0]) for family, parts in boxes.items()}
        if most <= MANY:
            self._fill_where_it_saves(left, base)
        rest = {family: parts for family, one in left.items() if (parts := one.boxes())}
        fragile = {family: self._fragility(family, parts) for family, parts in rest.items()}
        for family in sorted(fragile, key=lambda one: (-fragile[one], one.members[0].name)):
            self._spread(family, rest[family], most)

    def _spread(self, family: Family, parts: list[Box], most: int) -> None:
        """Whole tiles to cores of their own while there may be more, then cut to the widest gaps."""
        waiting = deque(sorted(parts, key=lambda box: (-box.size, box.ranges)))
        gaps = Gaps()
        axis: int | None = None
        while waiting:
            box = waiting.popleft()
            part = self._part(family, box)
            small = 2 * part.demand.neurons < self._chip.neurons
            core = self._any_core(part.demand) if small or self.cores >= most else -1
            if core < 0 and self.cores >= most:
                found = self._cut_to_widest(family, box, gaps, axis)
                if found is not None:
                    core, cut = found
                    axis = _cut_axis(box, cut.box) if most > MANY else None
                    self._put(core, cut.pieces, cut.demand)
                    waiting.extendleft(reversed(box.without(cut.box)))
                    continue
            self._put(core, part.pieces, part.demand)

    def _cut_to_widest(
        self, family: Family, box: Box, gaps: Gaps, axis: int | None
    ) -> tuple[int, Part] | None:
        """The part of a box that costs least in the widest gap where one fits, cut along some axis or any."""
        rooms = self._limits[self._neurons] - self._filled[: self.cores, self._neurons]
        for core in gaps.widest(rooms, int(NARROW * self._chip.neurons)):
            best: tuple[float, Part] | None = None
            for part in self._cuts_to_room(core, family, box, axis):
                gain = self._gain(core, part.demand)
                if gain is not None:
                    cost = (part.demand.arriving(self._rates) - gain) / part.demand.neurons
                    best = (cost, part) if best is None or cost < best[0] else best
            if best is not None:
                return core, best[1]
            gaps.close(core)
        return None

    def _fragility(self, family: Family, boxes: Sequence[Box]) -> float:
        """How many more messages a neuron needs in small parts than in whole tiles."""
        parts = _parts(boxes[0], self._in_members(family, max(self._chip.neurons // 8, 1)))
        return min(self._per_neuron(family, part) for part in parts) - self._per_neuron(family, boxes[0])

    def _per_neuron(self, family: Family, box: Box) -> float:
        demand = self._part(family, box).demand
        return demand.arriving(self._rates) / demand.neurons

    def _fill_where_it_saves(self, left: Mapping[Family, Leftover], base: Mapping[Family, float]) -> None:
        tickets = count()
        heap = [
            (-density, next(tickets), core, part)
            for core in range(self.cores)
            for density, part in self._offer(core, left, base)
        ]
        heapq.heapify(heap)
        while heap:
            density, _, core, part = heapq.heappop(heap)
            if density < 0 and self._put_if_left(core, part, left):
                for density, more in self._offer(core, left, base):
                    heapq.heappush(heap, (-density, next(tickets), core, more))

    def _put_if_left(self, core: int, part: Part, left: Mapping[Family, Leftover]) -> bool:
        if self._gain(core, part.demand) is None or not left[part.family].take(part.box):
            return False
        self._put(core, part.pieces, part.demand)
        return True

    def _offer(
        self, core: int, left: Mapping[Family, Leftover], base: Mapping[Family, float]
    ) -> Iterator[tuple[float, Part]]:
        """What would fill a core best: messages saved a neuron, against tiles of good shape elsewhere.

        From each family the parts that talk to the core are tried.
        """
        if self._room(core) < NARROW * self._chip.neurons:
            return
        best: tuple[float, Part] | None = None
        for family, boxes in left.items():
            for box in self._affine(core, family, boxes):
                for part in self._cuts_to_room(core, family, box):
                    gain = self._gain(core, part.demand)
                    if gain is None:
                        continue
                    cost = part.demand.arriving(self._rates) - gain
                    density = base[family] - cost / part.demand.neurons
                    if best is None or density > best[0]:
                        best = density, part
        if best is not None:
            yield best

    def _affine(self, core: int, family: Family, boxes: Leftover) -> list[Box]:
        """The parts of some boxes of a family that talk to or hear from what is on a core."""
        holds = self._demands[core].holds
        wanted: list[Box] = []
        for one in family.populations:
            near: list[Box] = []
            for number in self._network.into(one.name):
                projection = self._network.projections[number]
                for held in holds.get(projection.source, ()):
                    near += projection.feeds(held)[:2]
            for number in self._network.out_of(one.name):
                projection = self._network.projections[number]
                for held in holds.get(projection.target, ()):
                    near += projection.reads(held)[:2]
            wanted += [family.under(one, box) for box in near[:4]]
        found = {part: None for want in dict.fromkeys(wanted[:4]) for part in boxes.parts_in(want)}
        return sorted(found, key=lambda box: (-box.size, box.ranges))[:3]

    def _cuts_to_room(self, core: int, family: Family, box: Box, axis: int | None = None) -> Iterator[Part]:
        """Parts of a box, each cut along one axis, that have no more neurons than a core has room for.

        Along the axis given only, if a part can be cut along it.
        """
        least = min(self._in_members(family, int(SMALLEST * self._chip.neurons)), box.size)
        parts = _parts(box, self._in_members(family, self._room(core)))
        for part in [one for one in parts if axis is not None and _cut_axis(box, one) == axis] or parts:
            if part.size >= least:
                yield self._part(family, part)

    def _part(self, family: Family, box: Box) -> Part:
        pieces = pieces_of(self._network, family, box)
        return Part(family, box, pieces, needed_by(pieces))

    @staticmethod
    def _in_members(family: Family, neurons: int) -> int:
        """How large a box of a member is whose tiles have so many neurons together."""
        return neurons * prod(family.shape) // family.size

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


def _cut_axis(box: Box, part: Box) -> int | None:
    """The first axis along which a part is not the whole box."""
    spans = enumerate(zip(box.ranges, part.ranges, strict=True))
    return next((axis for axis, (whole, cut) in spans if whole != cut), None)
