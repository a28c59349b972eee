"""How each population is cut into tiles that fit a core."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise, product
from math import inf, prod

from spikeloom.compiler.mapping.box import Box, Range, union_size
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import Demand, share, tile_demand, violations
from spikeloom.compiler.mapping.network import Network, Population
from spikeloom.errors import Problem

TOLERANCE = 1.03
"""Among cuts that need at most so many times the fewest cores, the one with the least traffic wins."""

GAP = 0.125
"""Tiles that are cut to fill gaps are at most this share of a core, if they can be."""

MOST_JUDGED = 200
"""So many candidates are judged for a population."""

SHAREABLE = frozenset({"neuron_groups"})
"""Limits of which tiles of one population on one core use no more than one of them does."""


@dataclass(frozen=True)
class Piece:
    """A tile that has no core yet.

    Attributes:
        population: its name.
        box: on the axes of the population's shape.
        demand: what it needs of a core.
    """

    population: str
    box: Box
    demand: Demand


@dataclass(frozen=True, order=True)
class Blocks:
    """Extents of a tile along each axis.

    Either every axis is cut into tiles of that extent and a remainder, or ``even``: into as few
    parts, which differ by one at most.
    """

    sizes: tuple[int, ...]
    even: bool

    def ranges(self, shape: tuple[int, ...]) -> list[tuple[Range, ...]]:
        """The cuts of every axis."""
        return [cuts(extent, size, self.even) for extent, size in zip(shape, self.sizes, strict=True)]

    def boxes(self, shape: tuple[int, ...]) -> Iterator[Box]:
        """Every tile."""
        return (Box(ranges) for ranges in product(*self.ranges(shape)))

    def count(self, shape: tuple[int, ...]) -> int:
        """How many tiles."""
        return prod(len(ranges) for ranges in self.ranges(shape))

    def kinds(self, shape: tuple[int, ...]) -> list[tuple[Box, int]]:
        """A box of each extent, near the middle, and how many tiles have that extent."""
        choices = []
        for ranges in self.ranges(shape):
            counts = Counter(stop - start for start, stop in ranges)
            middle = ranges[len(ranges) // 2 :] + ranges[: len(ranges) // 2]
            choices.append(
                [(next(r for r in middle if r[1] - r[0] == size), n) for size, n in counts.items()]
            )
        return [
            (Box(tuple(span for span, _ in parts)), prod(n for _, n in parts)) for parts in product(*choices)
        ]

    def least_cores(self, shape: tuple[int, ...], cap: int) -> float:
        """The cores that its tiles fill if only the number of neurons counts."""
        counts = [Counter(stop - start for start, stop in ranges) for ranges in self.ranges(shape)]
        return sum(
            _cores(prod(size for size, _ in parts) / cap, prod(n for _, n in parts))
            for parts in product(*(list(count.items()) for count in counts))
        )


class TileChooser:
    """Chooses the tiles of one population after the other.

    Candidates are all choices of extents along all axes but one, with the largest extent along
    that one that fits a core. A candidate is judged by one tile of each size; the winner is checked
    tile by tile.
    """

    def __init__(self, network: Network, chip: Chip, rates: Mapping[str, float]) -> None:
        self._network = network
        self._chip = chip
        self._rates = rates
        self._chosen: dict[object, Blocks] = {}
        self._cap = chip.neurons

    def choose(self, population: Population) -> tuple[list[Piece], list[Problem]]:
        """Tiles that fit; or a problem for each limit that a single neuron exceeds."""
        alone = Box(tuple((size // 2, size // 2 + 1) for size in population.shape))
        uses = self._uses(population, alone)
        exceeded = violations(uses, self._chip)
        if exceeded:
            return [], [self._too_small(population, name, uses[name]) for name in exceeded]
        signature = self._signature(population)
        known = [self._chosen[signature]] if signature in self._chosen else []
        for blocks in chain(known, self._ranked(population)):
            pieces = self._pieces(population, blocks)
            if pieces:
                self._chosen[signature] = blocks
                return pieces, []
        pieces = self._pieces(population, Blocks((1,) * len(population.shape), even=True))
        assert pieces, "the neuron in the middle reads most, and it fits"
        return pieces, []

    def _ranked(self, population: Population) -> Iterator[Blocks]:
        """Candidates from good to bad: the whole population, then those that keep axes together."""
        if self._fits(population, Box.whole(population.shape)):
            yield Blocks(population.shape, even=True)
        if population.together:
            yield from self._best(population, frozenset(population.together))
        yield from self._best(population, frozenset())

    def _best(self, population: Population, whole: frozenset[int]) -> list[Blocks]:
        """The candidates that fit, the best first.

        Where another limit than the number of neurons keeps tiles small, a second round looks
        around the largest tile that the first has found.
        """
        shape = population.shape
        judged = self._judged(population, whole, min(self._cap, population.size))
        largest = max((_largest(blocks, shape).size for blocks in judged), default=0)
        if judged and 2 * largest < self._cap:
            judged |= self._judged(population, whole, min(largest * 5 // 4, population.size))
        best = min(judged.values(), default=inf)
        close = [blocks for blocks, cores in judged.items() if cores <= TOLERANCE * best]
        far = sorted(judged.keys() - close, key=lambda blocks: (judged[blocks], blocks))
        close.sort(key=lambda blocks: (self._traffic(population, blocks), blocks))
        return [self._finer(population, blocks) for blocks in close[:1]] + close + far

    def _finer(self, population: Population, blocks: Blocks) -> Blocks:
        """Smaller tiles that fill gaps, where neurons are not what fills a core and traffic stays.

        Sums of many products need few neurons and many axons; cut small, they find room on cores
        that are full of neurons and have axons to spare.
        """
        shape = population.shape
        uses = self._uses(population, _largest(blocks, shape))
        fullest = share(uses, self._chip, SHAREABLE)
        if fullest <= GAP or uses["neurons"] > fullest * self._cap / 2:
            return blocks
        traffic, _ = self._traffic(population, blocks)
        for axis, size in enumerate(blocks.sizes):
            halved = Blocks((*blocks.sizes[:axis], -(-size // 2), *blocks.sizes[axis + 1 :]), blocks.even)
            if size > 1 and self._traffic(population, halved)[0] <= traffic:
                return self._finer(population, halved)
        return blocks

    def _judged(self, population: Population, whole: frozenset[int], cap: int) -> dict[Blocks, float]:
        """Candidates of up to ``cap`` neurons that fit, with the cores that they fill."""
        shape = population.shape
        queue = [self._entry(shape, blocks, axis, cap) for blocks, axis in _candidates(shape, whole, cap)]
        heapq.heapify(queue)
        judged: dict[Blocks, float] = {}
        best = inf
        while queue and queue[0][0] <= TOLERANCE * best and len(judged) < MOST_JUDGED:
            _, _, blocks, axis = heapq.heappop(queue)
            if blocks in judged:
                continue
            uses = self._uses(population, _largest(blocks, shape))
            if not violations(uses, self._chip):
                judged[blocks] = self._estimate(shape, blocks, uses)
                best = min(best, judged[blocks])
                continue
            shorter = self._shortened(population, blocks, axis)
            if shorter is not None:
                heapq.heappush(queue, self._entry(shape, shorter, axis, cap))
        return judged

    @staticmethod
    def _entry(shape: tuple[int, ...], blocks: Blocks, axis: int, cap: int) -> tuple[float, int, Blocks, int]:
        return blocks.least_cores(shape, cap), blocks.count(shape), blocks, axis

    def _shortened(self, population: Population, blocks: Blocks, axis: int) -> Blocks | None:
        """The same extents but the largest along one axis that fits, or None."""

        def with_size(size: int) -> Blocks:
            return Blocks((*blocks.sizes[:axis], size, *blocks.sizes[axis + 1 :]), blocks.even)

        low, high = 0, blocks.sizes[axis]
        while high - low > 1:
            middle = (low + high) // 2
            fits = self._fits(population, _largest(with_size(middle), population.shape))
            low, high = (middle, high) if fits else (low, middle)
        return with_size(low) if low else None

    def _estimate(self, shape: tuple[int, ...], blocks: Blocks, uses: Mapping[str, int]) -> float:
        """The cores that the tiles fill, from what the largest of them uses."""
        kinds = blocks.kinds(shape)
        fullest = share(uses, self._chip, SHAREABLE) / max(box.size for box, _ in kinds)
        return sum(_cores(fullest * box.size, count) for box, count in kinds)

    def _traffic(self, population: Population, blocks: Blocks) -> tuple[float, int]:
        """Source neurons that the tiles read, weighted with firing rates; and the number of tiles."""
        total = 0.0
        for box, count in blocks.kinds(population.shape):
            for number in self._network.into(population.name):
                projection = self._network.projections[number]
                needs = (projection.need(piece) for piece in projection.target_pieces(box))
                read = union_size(need for need in needs if need is not None)
                total += count * read * self._rates.get(projection.source, 1.0)
        return total, blocks.count(population.shape)

    def _pieces(self, population: Population, blocks: Blocks) -> list[Piece]:
        """All tiles with what they need; empty if one does not fit."""
        pieces = []
        for box in blocks.boxes(population.shape):
            demand = tile_demand(self._network, population, box)
            if violations(demand.uses(self._network, self._chip), self._chip):
                return []
            pieces.append(Piece(population.name, box, demand))
        return pieces

    def _fits(self, population: Population, box: Box) -> bool:
        return box.size <= self._cap and not violations(self._uses(population, box), self._chip)

    def _uses(self, population: Population, box: Box) -> dict[str, int]:
        return tile_demand(self._network, population, box).uses(self._network, self._chip)

    def _signature(self, population: Population) -> object:
        """Populations with the same signature need the same, but for the groups of their neurons."""
        into = [self._network.projections[number] for number in self._network.into(population.name)]
        kernels = list(dict.fromkeys(projection.kernel for projection in into))
        inputs = tuple((p.kind, p.axes, p.target_grid, p.kernel_axes, kernels.index(p.kernel)) for p in into)
        bits = tuple(self._network.kernel(name).bits for name in kernels)
        return population.shape, population.state_bytes, population.together, inputs, bits

    def _too_small(self, population: Population, name: str, got: int) -> Problem:
        limit = self._chip.limit(name)
        assert limit is not None
        remedy = {
            "synaptic_memory": "use fewer bits a weight, or a layer with fewer inputs",
            "core_memory": "use fewer bits a weight, or a layer with fewer inputs",
            "axons_in": "use a layer with fewer inputs",
            "fan_in": "use a layer with fewer inputs",
        }.get(name, "use a chip with larger cores")
        return Problem(
            "SL0603",
            population.name,
            f"one neuron does not fit a core of {self._chip.name}: {name}",
            f"at most {limit.value:,} {limit.unit}",
            f"{got:,}",
            remedy,
        )


def _candidates(shape: tuple[int, ...], whole: frozenset[int], cap: int) -> set[tuple[Blocks, int]]:
    """Extents that give tiles of more than half of ``cap`` neurons, and the axis that was stretched."""
    found = set()
    for axis in range(len(shape)):
        if axis in whole:
            continue
        others = [
            (extent,) if i in whole else (1,) if i == axis else _extents(extent)
            for i, extent in enumerate(shape)
        ]
        for sizes in product(*others):
            longest = min(cap // prod(sizes), shape[axis])
            best = (*sizes[:axis], longest, *sizes[axis + 1 :])
            if 2 * prod(best) > cap:
                found |= {(Blocks(best, even), axis) for even in (False, True)}
    return found


def _cores(filled: float, count: int) -> float:
    """The cores that tiles take which fill so much of one each, if only their like share a core."""
    return count / max(int(1 / filled), 1)


def _largest(blocks: Blocks, shape: tuple[int, ...]) -> Box:
    return max((box for box, _ in blocks.kinds(shape)), key=lambda box: box.size)


@lru_cache(maxsize=8192)
def cuts(extent: int, size: int, even: bool) -> tuple[Range, ...]:
    """An axis cut into ranges of that size and a remainder, or into as few that differ by one at most.

    >>> cuts(10, 4, even=False), cuts(10, 4, even=True)
    (((0, 4), (4, 8), (8, 10)), ((0, 3), (3, 6), (6, 10)))
    """
    parts = -(-extent // size)
    if even:
        edges = [extent * part // parts for part in range(parts + 1)]
    else:
        edges = [*range(0, extent, size), extent]
    return tuple(pairwise(edges))


def _extents(extent: int) -> tuple[int, ...]:
    """The extents of the largest part when an axis is cut into 1, 2, 3 ... parts."""
    return tuple(dict.fromkeys(-(-extent // parts) for parts in range(1, extent + 1)))
