"""The shapes of tiles, chosen across layers.

Every neuron is stored once, and every weight as often as positions are cut: a layer cut into c blocks
of channels and s blocks of positions keeps s copies of its kernel, and sends each spike that it reads to
c cores (and to a few more at seams). So fewer messages cost memory, and there is one price of memory for
all layers at which the tiles fill just the cores that there should be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import inf, prod

from spikeloom.compiler.mapping.box import Box, Range
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import Demand, tile_demand, violations
from spikeloom.compiler.mapping.network import Network, Population
from spikeloom.compiler.mapping.tiling.tiles import Blocks, Piece, cuts

CHANNEL_PARTS = (*range(1, 17), 18, 20, 22, 24, 28, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512)
"""Into how many blocks channels may be cut; the numbers above 512 double."""

FILLS = (1.0, 0.75, 0.5)
"""Shares of a core's neurons that a tile may have."""

FINER = 3
"""Channels are cut at most so many times as finely as the memory of a core asks for."""

FULL = 0.985
"""Blocks of positions that are this full, of those that fit, count as full."""

RELAXED = 1.01
"""Where the cores that there should be are too few, so many times the fewest are aimed at."""

FAR = 0.98
"""Where they are fewer than so many times the fewest, the fewest are aimed at."""

LONGEST = 6
"""So many families are fused at most."""

FUSED_PARTS = (1, 2, 3, 4, 6, 8)
"""Into how many blocks the channels of fused families may be cut."""

LIGHT = 0.35
"""Families whose kernels take at most this share of a core's synaptic memory are cut to fill gaps."""

FREE = 0.04
"""Those whose kernels take at most this share find gaps on any core, even one that is full of kernels."""


@dataclass(frozen=True)
class Family:
    """Populations that read the same neurons in the same way, as queries, keys and values do.

    A tile of a family holds the same box of every member, so that a spike reaches all in one message,
    and the part of every follower that lies over this box.

    Attributes:
        members: of one shape.
        followers: pools that read one member only; in a fused family also the layers after it, whose spikes
            then leave a core at the seams of its box only.
    """

    members: tuple[Population, ...]
    followers: tuple[Population, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of every member."""
        return self.members[0].shape

    @property
    def size(self) -> int:
        """Neurons of all members and followers."""
        return sum(one.size for one in self.populations)

    @property
    def populations(self) -> tuple[Population, ...]:
        """All of them."""
        return (*self.members, *self.followers)

    def fused(self, after: Family) -> Family:
        """Both as one, cut alike."""
        return Family(self.members, (*self.followers, *after.populations))

    def boxes(self, box: Box) -> list[tuple[Population, Box]]:
        """What a tile holds of each population, from the box of a member."""
        found = [(member, box) for member in self.members]
        for one in self.followers:
            scaled = tuple(
                (start * mine // theirs, stop * mine // theirs)
                for (start, stop), mine, theirs in zip(box.ranges, one.shape, self.shape, strict=True)
            )
            if all(start < stop for start, stop in scaled):
                found.append((one, Box(scaled)))
        return found

    def under(self, population: Population, box: Box) -> Box:
        """The box of a member that a box of one of the populations lies under."""
        return Box(
            tuple(
                (start * mine // theirs, -(-stop * mine // theirs))
                for (start, stop), mine, theirs in zip(box.ranges, self.shape, population.shape, strict=True)
            )
        )

    def kinds(self, blocks: Blocks) -> list[tuple[Box, int]]:
        """A box of each extent, of members and of followers, near the middle, and how many tiles have it."""
        choices = [
            _extents(extent, size, blocks.even, tuple(one.shape[axis] for one in self.followers))
            for axis, (extent, size) in enumerate(zip(self.shape, blocks.sizes, strict=True))
        ]
        return [
            (Box(tuple(span for span, _ in parts)), prod(count for _, count in parts))
            for parts in product(*choices)
        ]


@lru_cache(maxsize=65_536)
def _extents(extent: int, size: int, even: bool, followers: tuple[int, ...]) -> tuple[tuple[Range, int], ...]:
    """Extents of tiles along an axis, of members and followers: a range near the middle, and how many.

    >>> _extents(10, 4, False, (5,))
    (((4, 8), 2), ((8, 10), 1))
    """
    ranges = cuts(extent, size, even)
    found: dict[tuple[int, ...], tuple[int, Range, int]] = {}
    for number, (start, stop) in enumerate(ranges):
        key = stop - start, *(stop * theirs // extent - start * theirs // extent for theirs in followers)
        off = abs(2 * number - len(ranges))
        best, span, count = found.get(key, (off + 1, (start, stop), 0))
        found[key] = (off, (start, stop), count + 1) if off < best else (best, span, count + 1)
    return tuple((span, count) for _, span, count in found.values())


@dataclass(frozen=True)
class Shape:
    """A way to cut a family.

    Attributes:
        blocks: extents of the tiles.
        tiles: how many there are.
        messages: a step, that arrive at all of them.
        cores: that the tiles fill, where what needs no memory fills up the rest.
        is_light: whether its tiles can be cut to fill gaps, since they need little memory.
        apart: shapes of the followers, where they have tiles of their own.
    """

    blocks: Blocks
    tiles: int
    messages: float
    cores: float
    is_light: bool
    apart: tuple[Shape, ...] = ()


def filled(uses: Mapping[str, int], chip: Chip) -> float:
    """The cores that tiles alike take, a tile, where what needs no memory fills up their neurons."""
    memory = memory_share(uses, chip)
    alone = 1 / max(int(1 / memory), 1) if memory > 1 / 3 else memory
    return max(alone, uses["neurons"] / chip.neurons)


def memory_share(uses: Mapping[str, int], chip: Chip) -> float:
    """The largest share that is used of any limit but neurons."""
    return max((uses[one.name] / one.value for one in chip.limits if one.name != "neurons"), default=0.0)


def families(network: Network) -> list[Family]:
    """All placed populations in the order of the data flow, those that belong together as one family."""
    leaders = {one.name: leader for one in network.placed if (leader := _leader(network, one)) is not None}
    found: dict[object, list[Population]] = {}
    for population in network.placed:
        if population.name in leaders:
            continue
        into = [network.projections[number] for number in network.into(population.name)]
        reads = tuple((p.source, p.port, p.kind, p.source_axes, p.target_grid) for p in into)
        alike = (population.shape, population.state_bytes, population.together, reads)
        found.setdefault(alike if reads and not population.together else population.name, []).append(
            population
        )
    return [
        Family(
            tuple(members),
            tuple(
                one for one in network.placed if leaders.get(one.name) in {member.name for member in members}
            ),
        )
        for members in found.values()
    ]


def _leader(network: Network, population: Population) -> str | None:
    """The population whose tiles a population follows: the only one that it reads, through unit weights."""
    into = [network.projections[number] for number in network.into(population.name)]
    if len(into) != 1 or into[0].kind not in ("pool", "elementwise"):
        return None
    source = network.population(into[0].source)
    follows = [axis.target for axis in into[0].axes] == list(range(len(population.shape)))
    if source.role == "input" or not follows or len(source.shape) != len(population.shape):
        return None
    second = [network.projections[number] for number in network.into(source.name)]
    if len(second) == 1 and second[0].kind in ("pool", "elementwise"):
        return None
    return source.name


def pieces_of(network: Network, family: Family, box: Box) -> list[Piece]:
    """What a box of a member holds of each population of a family."""
    return [Piece(one.name, part, tile_demand(network, one, part)) for one, part in family.boxes(box)]


def needed_by(pieces: Sequence[Piece]) -> Demand:
    """What tiles need together on a core."""
    demand = pieces[0].demand
    for piece in pieces[1:]:
        demand = demand.with_tile(piece.demand)
    return demand


def fitting(network: Network, chip: Chip, family: Family, box: Box) -> Iterator[tuple[Box, list[Piece]]]:
    """The box and its tiles, or halves where they exceed a limit: shapes are judged by a few tiles only."""
    pieces = pieces_of(network, family, box)
    if box.size == 1 or not violations(needed_by(pieces).uses(network, chip), chip):
        yield box, pieces
        return
    axis = max(range(len(box.shape)), key=lambda number: (box.shape[number], number))
    start, stop = box.ranges[axis]
    for half in ((start, (start + stop) // 2), ((start + stop) // 2, stop)):
        yield from fitting(network, chip, family, Box((*box.ranges[:axis], half, *box.ranges[axis + 1 :])))


Choice = tuple[Family, Shape]


class ShapeChooser:
    """All shapes of every family that fit a core, alone and fused with those after it; chooses among them.

    Attributes:
        options: of each family alone; empty where none of the shapes that are tried fits.
    """

    def __init__(
        self, network: Network, chip: Chip, rates: Mapping[str, float], groups: Sequence[Family]
    ) -> None:
        self._network = network
        self._chip = chip
        self._rates = rates
        self._groups = groups
        self.options = [self._options(family) for family in groups]
        self._spans: list[list[tuple[int, Family, list[Shape]]]] = [
            list(self._spans_from(first)) for first in range(len(groups))
        ]

    def choose(self, cores: float) -> list[Choice]:
        """Families and shapes of fewest messages whose tiles fill at most so many cores, if there are such.

        One price of a core holds for all families (Lagrange); it is found by bisection. Where so few cores
        cannot be, a little more than the fewest are aimed at first: the last per cent costs most messages.
        """
        low, high = 0.0, self._highest_price()
        least = self._filled(self._at(high))
        cores = RELAXED * least if FAR * least < cores < least else cores
        if self._filled(self._at(0.0)) <= cores:
            return self._at(0.0)
        for _ in range(40):
            price = (low * high) ** 0.5 if low else high / 1e6
            if self._filled(self._at(price)) <= cores:
                high = price
            else:
                low = price
            if low and high / low < 1.001:
                break
        return self._at(high)

    def _at(self, price: float) -> list[Choice]:
        """The cheapest way to cut the sequence of families into fused ones, and the shape of each.

        Dynamic programming from the end: what begins at a family costs its messages and cores, and what
        follows it. Families without options are passed over.
        """
        costs = [0.0] * (len(self._groups) + 1)
        steps: list[tuple[int, Choice | None]] = [(0, None)] * len(self._groups)
        for first in reversed(range(len(self._groups))):
            costs[first], steps[first] = costs[first + 1], (first + 1, None)
            for number, (stop, family, shapes) in enumerate(self._spans[first]):
                best = min(shapes, key=lambda o: (o.messages + price * o.cores, o.blocks))
                cost = best.messages + price * best.cores + costs[stop]
                if number == 0 or cost < costs[first]:
                    costs[first], steps[first] = cost, (stop, (family, best))
        chosen, first = [], 0
        while first < len(steps):
            first, choice = steps[first]
            chosen += [choice] if choice is not None else []
        return chosen

    @staticmethod
    def _filled(chosen: Sequence[Choice]) -> float:
        return sum(shape.cores for _, shape in chosen)

    def _highest_price(self) -> float:
        messages = sum(max((o.messages for o in options), default=0.0) for options in self.options)
        return 1e3 * max(messages, 1.0)

    def _spans_from(self, first: int) -> Iterator[tuple[int, Family, list[Shape]]]:
        """Families that begin with this one: alone, and fused with as many after it as fit a core."""
        family = self._groups[first]
        if not self.options[first]:
            return
        yield first + 1, family, self.options[first]
        for stop in range(first + 2, min(first + LONGEST, len(self._groups)) + 1):
            after = self._groups[stop - 1]
            if not self.options[stop - 1] or not self._fuse(family, after):
                return
            family = family.fused(after)
            shapes = _undominated(self._fused_shapes(family))
            if not shapes:
                return
            yield stop, family, shapes

    def _fuse(self, family: Family, after: Family) -> bool:
        """Whether a family reads the one before it and can be cut alike: one grid divides the other."""
        own = {one.name for one in family.populations}
        into = [number for one in after.members for number in self._network.into(one.name)]
        if own.isdisjoint(self._network.projections[number].source for number in into):
            return False
        if family.members[0].together or after.members[0].together:
            return False
        grids = family.shape[1:], after.shape[1:]
        return len(grids[0]) == len(grids[1]) > 0 and all(
            max(sizes) % min(sizes) == 0 for sizes in zip(*grids, strict=True)
        )

    def _fused_shapes(self, family: Family) -> list[Shape]:
        """Shapes of channels cut as little as memory allows."""
        limit = self._chip.limit("synaptic_memory")
        needed = self._kernel_bits(family)
        room = limit.value * self._chip.encoding.word_bits if limit is not None else max(needed, 1)
        cap = self._chip.neurons * prod(family.shape) // family.size
        found: list[Shape] = []
        finest = FUSED_PARTS[-1]
        for parts in FUSED_PARTS:
            if needed > parts * room or not finest >= parts <= family.shape[0]:
                continue
            for blocks in _candidates(family, -(-family.shape[0] // parts), cap):
                shape = self._judge(family, blocks)
                found += [shape] if shape is not None else []
            finest = 2 * parts if found else finest
        return found

    def _options(self, family: Family) -> list[Shape]:
        found = self._shapes(family)
        if family.followers:
            apart = [self._shapes(Family((one,))) for one in family.followers]
            if all(apart):
                rest = tuple(min(shapes, key=lambda o: (o.messages, o.blocks)) for shapes in apart)
                more, cores = sum(o.messages for o in rest), sum(o.cores for o in rest)
                found += [
                    replace(o, messages=o.messages + more, cores=o.cores + cores, apart=rest)
                    for o in self._shapes(Family(family.members))
                ]
        return _undominated(found)

    def _shapes(self, family: Family) -> list[Shape]:
        """All that fit; channels are cut at most three times as fine as they must be."""
        cap = self._chip.neurons * prod(family.shape) // family.size
        found: list[Shape] = []
        finest = 0
        for channels in _channels(family):
            if channels < finest:
                break
            for blocks in _candidates(family, channels, cap):
                shape = self._judge(family, blocks)
                found += [shape] if shape is not None else []
            if found and not finest:
                finest = -(-channels // FINER)
        return found

    def _judge(self, family: Family, blocks: Blocks) -> Shape | None:
        messages, cores, tiles = 0.0, 0.0, 0
        is_light, is_free = self._takes_at_most(LIGHT, family), self._takes_at_most(FREE, family)
        free = self._free_share(family) / self._chip.neurons
        for box, count in sorted(family.kinds(blocks), key=lambda kind: -kind[0].size):
            demand = needed_by(pieces_of(self._network, family, box))
            uses = demand.uses(self._network, self._chip)
            if violations(uses, self._chip):
                return None
            messages += count * demand.arriving(self._rates)
            if is_light:
                cores += 0.0 if is_free else count * uses["neurons"] * (1 / self._chip.neurons - free)
            else:
                cores += count * (filled(uses, self._chip) - free * uses["neurons"])
            tiles += count
        return Shape(blocks, tiles, messages, cores, is_light)

    def _free_share(self, family: Family) -> float:
        """The share of a fused family's neurons that could as well fill gaps by themselves."""
        if len(family.populations) == 1:
            return 0.0
        free = sum(one.size for one in family.populations if self._takes_at_most(FREE, Family((one,))))
        return free / family.size

    def _takes_at_most(self, share: float, family: Family) -> bool:
        """Whether a family's kernels take at most a share of a core's synaptic memory."""
        limit = self._chip.limit("synaptic_memory")
        if limit is None:
            return True
        return self._kernel_bits(family) <= share * limit.value * self._chip.encoding.word_bits

    def _kernel_bits(self, family: Family) -> int:
        into = {n for one in family.populations for n in self._network.into(one.name)}
        kernels = {self._network.projections[number].kernel for number in into}
        return sum(
            prod(self._network.kernel(name).shape) * self._network.kernel(name).bits for name in kernels
        )


def _undominated(shapes: Sequence[Shape]) -> list[Shape]:
    """Those that no other beats in both messages and cores."""
    kept: list[Shape] = []
    least = inf
    for shape in sorted(shapes, key=lambda s: (s.messages, s.cores, s.blocks)):
        if shape.cores < least:
            kept.append(shape)
            least = shape.cores
    return kept


def _channels(family: Family) -> list[int]:
    if 0 in family.members[0].together:
        return [family.shape[0]]
    return _parts(family.shape[0])


def _candidates(family: Family, channels: int, cap: int) -> Iterator[Blocks]:
    """Even cuts, whose number of copies is small, and uneven ones, whose tiles are full but for the last."""
    whole = frozenset(family.members[0].together)
    found: dict[tuple[tuple[Range, ...], ...], Blocks] = {}
    for positions in _positions(family.shape[1:], whole, cap // channels):
        for even in (True, False):
            blocks = Blocks((channels, *positions), even)
            if channels * prod(positions) <= cap:
                found.setdefault(tuple(blocks.ranges(family.shape)), blocks)
    yield from found.values()


def _parts(extent: int) -> list[int]:
    """Extents of the largest of equal parts."""
    counts = [*CHANNEL_PARTS, *(1024 << i for i in range(20))]
    return list(dict.fromkeys(-(-extent // parts) for parts in counts if parts <= extent))


def _positions(extents: tuple[int, ...], whole: frozenset[int], room: int) -> Iterator[tuple[int, ...]]:
    if not extents:
        yield ()
        return
    if room < 1:
        return
    if any(axis + 1 in whole for axis in range(len(extents))):
        yield extents
        return
    for fill in FILLS:
        area = max(int(room * fill), 1)
        if area >= prod(extents):
            yield extents
        elif len(extents) == 1:
            yield (area,)
        else:
            yield from _blocks(extents, area)


@lru_cache(maxsize=4096)
def _blocks(extents: tuple[int, ...], area: int) -> tuple[tuple[int, ...], ...]:
    """Boxes of nearly ``area`` positions, as square as they can be, whole along all axes after the second."""
    inner = prod(extents[2:])
    if area < inner:
        if len(extents) > 3:
            return tuple((1, 1, *rest) for rest in _blocks(extents[2:], area))
        return ((1, 1, min(area, extents[2])),)
    area //= inner
    choices = []
    for height in range(1, min(extents[0], area) + 1):
        width = min(area // height, extents[1])
        if height == min(area // width, extents[0]):
            choices.append((height, width))
    full = max(height * width for height, width in choices)
    close = [c for c in choices if c[0] * c[1] >= FULL * full]
    square = sorted(choices, key=lambda c: (c[0] + c[1]) / (c[0] * c[1]))
    tight = sorted(close, key=lambda c: (c[0] + c[1], c))
    few = sorted(choices, key=lambda c: (-(-extents[0] // c[0]) * -(-extents[1] // c[1]), c[0] + c[1], c))
    best = dict.fromkeys((*square[:1], *tight[:1], *few[:2]))
    return tuple((height, width, *extents[2:]) for height, width in best)
