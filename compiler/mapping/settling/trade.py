"""Annealing of tiles over cores with places: a tile moves or trades, if every limit still holds."""

from __future__ import annotations

from math import log

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spikeloom.compiler.mapping.settling.seats import Counts, Rows, Seats
from spikeloom.compiler.mapping.xorshift import State, next_number

# pragma: no cover  (coverage does not see compiled functions)

Places = NDArray[np.int64]

SPELL = 256
"""Moves between changes of the temperature."""

MOST_OTHERS = 4
TRIES = 12
"""So many tiles at most make room for one, and so many are looked at for it."""


@njit(cache=True)
def _leaves(rows: Rows, thing: int, core: int) -> bool:
    """One use of a thing on a core ends; whether it was the last."""
    k = rows.start[thing]
    while rows.core[k] != core:
        k += 1
    rows.times[k] -= 1
    if rows.times[k] > 0:
        return False
    rows.length[thing] -= 1
    last = rows.start[thing] + rows.length[thing]
    rows.core[k], rows.times[k] = rows.core[last], rows.times[last]
    return True


@njit(cache=True)
def _enters(rows: Rows, thing: int, core: int) -> bool:
    """One use more of a thing on a core; whether it is the first."""
    stop = rows.start[thing] + rows.length[thing]
    for k in range(rows.start[thing], stop):
        if rows.core[k] == core:
            rows.times[k] += 1
            return False
    rows.core[stop], rows.times[stop] = core, 1
    rows.length[thing] += 1
    return True


@njit(cache=True)
def _apart(seats: Seats, a: int, b: int) -> int:
    return int(abs(seats.column[a] - seats.column[b]) + abs(seats.row[a] - seats.row[b]))


@njit(cache=True)
def _carry(seats: Seats, tile: int, core: int, message: float, hop: float) -> float:
    """Let a tile read and send from another core; the change of cost."""
    here = seats.core_of[tile]
    heard = seats.heard
    cost = 0.0
    for k in range(heard.first[tile], heard.first[tile + 1]):
        atom = heard.things[k]
        sender = seats.core_of[seats.source[atom]]
        if _leaves(heard, atom, here) and sender != here:
            cost -= seats.spikes[atom] * (message + hop * _apart(seats, sender, here))
        if _enters(heard, atom, core) and sender != core:
            cost += seats.spikes[atom] * (message + hop * _apart(seats, sender, core))
    cost = _sent_from(seats, tile, core, message, hop, cost)
    seats.core_of[tile] = core
    return cost


@njit(cache=True)
def _sent_from(seats: Seats, tile: int, core: int, message: float, hop: float, cost: float) -> float:
    """A change of cost, and to it what changes if a tile sends from another core."""
    here = seats.core_of[tile]
    heard = seats.heard
    for k in range(seats.first[tile], seats.first[tile + 1]):
        atom = seats.sent[k]
        change = 0.0
        for j in range(heard.start[atom], heard.start[atom] + heard.length[atom]):
            reader = heard.core[j]
            change += hop * (_apart(seats, core, reader) - _apart(seats, here, reader))
            if reader == here:
                change += message
            elif reader == core:
                change -= message
        cost += change * seats.spikes[atom]
    return cost


@njit(cache=True)
def _judge(seats: Seats, tile: int, core: int, message: float, hop: float) -> float:
    """What :func:`_carry` would return, with nothing changed."""
    here = seats.core_of[tile]
    heard = seats.heard
    cost = 0.0
    for k in range(heard.first[tile], heard.first[tile + 1]):
        atom = heard.things[k]
        sender = seats.core_of[seats.source[atom]]
        others, known = False, False
        for j in range(heard.start[atom], heard.start[atom] + heard.length[atom]):
            if heard.core[j] == here:
                others = heard.times[j] > 1
            elif heard.core[j] == core:
                known = True
        if not others and sender != here:
            cost -= seats.spikes[atom] * (message + hop * _apart(seats, sender, here))
        if not known and sender != core:
            cost += seats.spikes[atom] * (message + hop * _apart(seats, sender, core))
    return _sent_from(seats, tile, core, message, hop, cost)


@njit(cache=True)
def _store(seats: Seats, tile: int, here: int, core: int) -> None:
    """Take what a tile needs off a core and put it on another."""
    kept = seats.kept
    for limit in range(len(seats.limits)):
        seats.used[here, limit] -= seats.own[tile, limit]
        seats.used[core, limit] += seats.own[tile, limit]
    for k in range(kept.first[tile], kept.first[tile + 1]):
        thing = kept.things[k]
        if _leaves(kept, thing, here):
            for limit in range(len(seats.limits)):
                seats.used[here, limit] -= seats.amounts[thing, limit]
        if _enters(kept, thing, core):
            for limit in range(len(seats.limits)):
                seats.used[core, limit] += seats.amounts[thing, limit]


@njit(cache=True)
def _fits(seats: Seats, core: int) -> bool:
    fits = True
    for limit in range(len(seats.limits)):
        fits &= seats.used[core, limit] <= seats.limits[limit]
    return fits


@njit(cache=True)
def _sit(seats: Seats, tile: int, here: int, core: int) -> None:
    """Enter a tile in the list of another core."""
    last = seats.tiles_on[here, seats.seats[here] - 1]
    seats.tiles_on[here, seats.place[tile]] = last
    seats.place[last] = seats.place[tile]
    seats.seats[here] -= 1
    seats.tiles_on[core, seats.seats[core]] = tile
    seats.place[tile] = seats.seats[core]
    seats.seats[core] += 1


@njit(cache=True)
def _make_room(
    seats: Seats, tile: int, core: int, wanted: int, room: Counts, back: Counts, picked: Counts, state: State
) -> int:
    """Tiles of a core that may leave it for the core of a tile that comes; how many, or -1 if it cannot be.

    What tiles on a core share is left out here.

    Args:
        seats: who sits where.
        tile: that comes.
        core: to which.
        wanted: so many leave at least.
        room: [limits], work space: what is free on the core.
        back: [limits], work space: what is free where the tile comes from.
        picked: the tiles that leave.
        state: of the random numbers.
    """
    here = seats.core_of[tile]
    for limit in range(len(room)):
        more = seats.own[tile, limit]
        room[limit] = seats.limits[limit] - seats.used[core, limit] - more
        back[limit] = seats.limits[limit] - seats.used[here, limit] + more
    count = 0
    for _ in range(TRIES):
        lacks = False
        for limit in range(len(room)):
            lacks |= room[limit] < 0
        if not lacks and count >= wanted:
            return count
        if count == len(picked) or seats.seats[core] == 0:
            return -1
        other = seats.tiles_on[core, next_number(state) % seats.seats[core]]
        fits = True
        for k in range(count):
            fits &= picked[k] != other
        for limit in range(len(room)):
            fits &= seats.own[other, limit] <= back[limit] or seats.own[other, limit] == 0
        if not fits:
            continue
        picked[count] = other
        count += 1
        for limit in range(len(room)):
            room[limit] += seats.own[other, limit]
            back[limit] -= seats.own[other, limit]
    return -1


@njit(cache=True)
def _beside(seats: Seats, tile: int, state: State) -> int:
    """The core of something that a tile reads or that reads it; -1 if there is none."""
    heard = seats.heard
    reads = heard.first[tile + 1] - heard.first[tile]
    sends = seats.first[tile + 1] - seats.first[tile]
    if reads + sends == 0:
        return -1
    pick = next_number(state) % (reads + sends)
    if pick < reads:
        atom = heard.things[heard.first[tile] + pick]
        if next_number(state) % 2:
            return int(seats.core_of[seats.source[atom]])
    else:
        atom = seats.sent[seats.first[tile] + pick - reads]
    return int(heard.core[heard.start[atom] + next_number(state) % heard.length[atom]])


@njit(cache=True)
def _near(seats: Seats, core_at: Places, core: int, reach: int, state: State) -> int:
    """A core within some routers of another, or that one."""
    x = seats.column[core] + next_number(state) % (2 * reach + 1) - reach
    y = seats.row[core] + next_number(state) % (2 * reach + 1) - reach
    width, height, depth = core_at.shape
    if x < 0 or y < 0 or x >= width or y >= height:
        return core
    found = core_at[x, y, next_number(state) % depth]
    return int(found) if found >= 0 else core


@njit(cache=True)
def _exchange(
    seats: Seats,
    tile: int,
    core: int,
    picked: Counts,
    others: int,
    message: float,
    hop: float,
    allowed: float,
) -> bool:
    """A tile to another core, some of those there to its own, if that costs little and fits."""
    here = seats.core_of[tile]
    cost = _carry(seats, tile, core, message, hop)
    for k in range(others):
        cost += _carry(seats, picked[k], here, message, hop)
    taken = cost <= allowed
    if taken:
        _store(seats, tile, here, core)
        for k in range(others):
            _store(seats, picked[k], core, here)
        taken = _fits(seats, core) and _fits(seats, here)
        if not taken:
            _store(seats, tile, core, here)
            for k in range(others):
                _store(seats, picked[k], here, core)
    if not taken:
        _carry(seats, tile, here, message, hop)
        for k in range(others):
            _carry(seats, picked[k], core, message, hop)
        return False
    _sit(seats, tile, here, core)
    for k in range(others):
        _sit(seats, picked[k], core, here)
    return True


@njit(cache=True)
def _target(seats: Seats, core_at: Places, tile: int, reach: int, state: State) -> int:
    """A core that a tile talks to, or one near it; the tile's own if there is none with a seat left."""
    here, most = seats.core_of[tile], seats.tiles_on.shape[1]
    core = _beside(seats, tile, state)
    if core >= 0 and next_number(state) % 4:
        core = _near(seats, core_at, core, reach, state)
    if core < 0 or seats.seats[core] == most or seats.seats[here] + MOST_OTHERS > most:
        return int(here)
    return int(core)


@njit(cache=True)
def trade(
    seats: Seats,
    core_at: Places,
    moves: int,
    hot: float,
    cold: float,
    message: float,
    hop: float,
    reach: int,
    state: State,
) -> int:
    """Annealing with moves and trades of tiles; how many were made.

    cost = message * messages + hop * hops

    A tile goes first by itself; only if that costs no more than chance allows, those that make room for it
    are looked at.

    Args:
        seats: changed.
        core_at: [columns, rows, cores a router], cores, -1 if there is none.
        moves: that are tried.
        hot: temperature at the start, in cost.
        cold: at the end.
        message: cost of a message a step.
        hop: cost of a hop.
        reach: routers around a core that talks to a tile that are tried.
        state: of the random numbers.
    """
    room, back = np.zeros(len(seats.limits), np.int64), np.zeros(len(seats.limits), np.int64)
    picked = np.zeros(MOST_OTHERS, np.int64)
    temperature, made = hot, 0
    for move in range(moves):
        if move % SPELL == 0:
            temperature = hot * (cold / hot) ** (move / moves)
        allowed = -temperature * log((next_number(state) % 1048576 + 1) / 1048576.0)
        tile = next_number(state) % len(seats.core_of)
        core = _target(seats, core_at, tile, reach, state)
        if core == seats.core_of[tile]:
            continue
        others = _make_room(seats, tile, core, next_number(state) % 4 == 0, room, back, picked, state)
        if others < 0 or (others == 0 and seats.seats[seats.core_of[tile]] == 1):
            continue
        if _judge(seats, tile, core, message, hop) <= allowed:
            made += _exchange(seats, tile, core, picked, others, message, hop, allowed)
    return made
