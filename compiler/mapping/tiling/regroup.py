"""Other neighbours for tiles of networks that share no weights: fewer messages on the same cores.

Where no kernel is used twice, what a core needs is the sum of what its tiles need, and the messages are a sum
over tiles: a tile's spikes go to each core that holds a reader, but for its own. Both change little when two
tiles trade places, so that annealing can try millions of trades.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import exp
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import Demand, violations
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.tiling.pack import Group
from spikeloom.compiler.mapping.tiling.shapes import needed_by
from spikeloom.compiler.mapping.tiling.tiles import Piece
from spikeloom.compiler.mapping.xorshift import State, next_number, state_of

Counts = NDArray[np.int64]
Weights = NDArray[np.float64]

TRADES = 1_500
MOST_TRADES = 4_000_000
"""Trades that are tried, a tile, and in all."""

HOT, COLD = 0.6, 0.01
"""Temperatures at the start and at the end, in messages of a tile in the mean to one core."""

LARGEST = 20_000_000
"""Entries of the table of tiles and cores: of larger networks nothing is regrouped."""


class Seating(NamedTuple):
    """Tiles on cores, as a compiled loop takes them.

    Attributes:
        core_of: of every tile.
        tiles_on, seats: [cores, tiles], those on each core, and how many there are.
        place: of every tile, in the row of its core.
        needs: [tiles, limits], what a tile uses of each limit.
        used: [cores, limits].
        limits: of a core.
        first, nets: rows of a table: the tiles whose spikes each tile sends or reads.
        spikes: messages a step of every tile to one core.
        present: [tiles, cores], on how many seats of a core there are senders and readers of its spikes.
    """

    core_of: Counts
    tiles_on: Counts
    seats: Counts
    place: Counts
    needs: Counts
    used: Counts
    limits: Counts
    first: Counts
    nets: Counts
    spikes: Weights
    present: NDArray[np.int32]


def regroup(network: Network, chip: Chip, rates: Mapping[str, float], groups: Sequence[Group]) -> list[Group]:
    """The same tiles on as many cores or fewer, with fewer messages if that can be; else the groups given.

    Args:
        network: whose tiles they are; one in which a kernel is used twice is left as it is.
        chip: limits of a core.
        rates: messages a neuron and step, by population.
        groups: one a core.
    """
    pieces = [piece for group in groups for piece in group.pieces]
    if len(groups) < 2 or len(pieces) * len(groups) > LARGEST or _shares_kernels(network):
        return list(groups)
    seating = _seated(network, chip, rates, groups)
    moves = min(TRADES * len(pieces), MOST_TRADES)
    mean = float(seating.spikes.mean())
    _trade(seating, moves, HOT * mean, COLD * mean, state_of(0))
    found: dict[int, list[Piece]] = {}
    for piece, core in zip(pieces, seating.core_of.tolist(), strict=True):
        found.setdefault(core, []).append(piece)
    regrouped = [Group(tuple(found[core]), needed_by(found[core])) for core in sorted(found)]
    fits = not any(violations(group.demand.uses(network, chip), chip) for group in regrouped)
    return regrouped if fits and _arriving(regrouped, rates) < _arriving(groups, rates) else list(groups)


def _shares_kernels(network: Network) -> bool:
    uses = Counter(one.kernel for one in network.projections)
    return max(uses.values(), default=0) > 1 or any(one.kind != "dense" for one in network.projections)


def _arriving(groups: Sequence[Group], rates: Mapping[str, float]) -> float:
    return sum(group.demand.arriving(rates) for group in groups)


def _seated(network: Network, chip: Chip, rates: Mapping[str, float], groups: Sequence[Group]) -> Seating:
    pieces = [piece for group in groups for piece in group.pieces]
    core_of = np.repeat(np.arange(len(groups)), [len(group.pieces) for group in groups])
    needs = np.array([_amounts(piece.demand, network, chip) for piece in pieces], np.int64)
    limits = np.array([limit.value for limit in chip.limits], np.int64)
    used = np.zeros((len(groups), len(limits)), np.int64)
    np.add.at(used, core_of, needs)
    count = np.bincount(core_of, minlength=len(groups))
    place = np.arange(len(pieces)) - np.searchsorted(core_of, core_of)
    tiles_on = np.full((len(groups), len(pieces)), -1, np.int64)
    tiles_on[core_of, place] = np.arange(len(pieces))
    nets = _nets(pieces)
    first = np.cumsum([0, *map(len, nets)])
    flat = np.array([net for row in nets for net in row], np.int64)
    present = np.zeros((len(pieces), len(groups)), np.int32)
    np.add.at(present, (flat, core_of[np.repeat(np.arange(len(pieces)), np.diff(first))]), 1)
    spikes = np.array([rates[piece.population] * piece.box.size for piece in pieces])
    tables = tiles_on, count, place, needs, used, limits
    return Seating(core_of, *tables, first, flat, spikes, present)


def _amounts(demand: Demand, network: Network, chip: Chip) -> list[int]:
    """What a tile adds to each limit of a core at most; the fan-in of a neuron is nobody else's."""
    uses = demand.uses(network, chip)
    return [0 if limit.name == "fan_in" else uses[limit.name] for limit in chip.limits]


def _nets(pieces: Sequence[Piece]) -> list[list[int]]:
    """For every tile, itself and the tiles of which it reads a neuron."""
    of: dict[str, list[int]] = {}
    for number, piece in enumerate(pieces):
        of.setdefault(piece.population, []).append(number)
    found = []
    for number, piece in enumerate(pieces):
        heard = (
            other
            for name, boxes in piece.demand.reads.items()
            for other in of.get(name, ())
            if any(pieces[other].box.overlap(box) is not None for box in boxes)
        )
        found.append(sorted({number, *heard}))
    return found


@njit(cache=True)
def _move(seating: Seating, tile: int, core: int) -> float:  # pragma: no cover - compiled
    """Seat a tile elsewhere; the change of messages."""
    here = seating.core_of[tile]
    change = 0.0
    for k in range(seating.first[tile], seating.first[tile + 1]):
        net = seating.nets[k]
        seating.present[net, here] -= 1
        if seating.present[net, here] == 0:
            change -= seating.spikes[net]
        if seating.present[net, core] == 0:
            change += seating.spikes[net]
        seating.present[net, core] += 1
    last = seating.tiles_on[here, seating.seats[here] - 1]
    seating.tiles_on[here, seating.place[tile]] = last
    seating.place[last] = seating.place[tile]
    seating.seats[here] -= 1
    seating.tiles_on[core, seating.seats[core]] = tile
    seating.place[tile] = seating.seats[core]
    seating.seats[core] += 1
    seating.core_of[tile] = core
    for limit in range(len(seating.limits)):
        seating.used[here, limit] -= seating.needs[tile, limit]
        seating.used[core, limit] += seating.needs[tile, limit]
    return change


@njit(cache=True)
def _has_room(seating: Seating, core: int, tile: int, leaving: int) -> bool:  # pragma: no cover - compiled
    """Whether a core can take a tile when another leaves it (-1: none does)."""
    for limit in range(len(seating.limits)):
        more = seating.needs[tile, limit]
        if leaving >= 0:
            more -= seating.needs[leaving, limit]
        if more > 0 and seating.used[core, limit] + more > seating.limits[limit]:
            return False
    return True


@njit(cache=True)
def _trade(
    seating: Seating, moves: int, hot: float, cold: float, state: State
) -> None:  # pragma: no cover - compiled
    """Annealing: tiles go where something is that they talk to, for another one or for nothing."""
    tiles = len(seating.core_of)
    temperature = hot
    for move in range(moves):
        if move % 256 == 0:
            temperature = hot * (cold / hot) ** (move / moves)
        tile = next_number(state) % tiles
        low, high = seating.first[tile], seating.first[tile + 1]
        beside = seating.nets[low + next_number(state) % (high - low)]
        if next_number(state) % 8 == 0:
            beside = next_number(state) % tiles
        here, core = seating.core_of[tile], seating.core_of[beside]
        if core == here:
            continue
        other = -1
        if not _has_room(seating, core, tile, -1) or next_number(state) % 2:
            other = seating.tiles_on[core, next_number(state) % seating.seats[core]]
            if not _has_room(seating, core, tile, other) or not _has_room(seating, here, other, tile):
                continue
        change = _move(seating, tile, core)
        if other >= 0:
            change += _move(seating, other, here)
        chance = (next_number(state) % 1048576) / 1048576.0
        if change > 0 and chance >= exp(-change / temperature):
            _move(seating, tile, here)
            if other >= 0:
                _move(seating, other, core)
