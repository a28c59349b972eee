"""Tiles settle where they talk: once cores have places, tiles move and trade, and cores are placed anew.

Packing puts tiles of distant layers on one core, so that none of both is where its neighbours are. Here a
tile goes to, or trades with tiles on, a core near those that it talks to, where all limits still hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import violations
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.placing.board import board_for, slot_table
from spikeloom.compiler.mapping.placing.graph import Counts, talk_of
from spikeloom.compiler.mapping.placing.place import improve
from spikeloom.compiler.mapping.settling.seats import Seats, pairs_of, seats_of, tiles_by_core, total_loads
from spikeloom.compiler.mapping.settling.trade import trade
from spikeloom.compiler.mapping.tiling.pack import Group
from spikeloom.compiler.mapping.tiling.shapes import needed_by
from spikeloom.compiler.mapping.tiling.tiles import Piece
from spikeloom.compiler.mapping.xorshift import state_of

MOST_CORES = 6_000
"""Mappings onto more cores are left as they are: the time that they may take is spent on packing."""

ROUNDS = 2
MOVES, LEAST_MOVES, MOST_MOVES = 0.4, 50, 300
"""Moves that a round tries: a tile and core, at least and at most a tile."""

ALL_MOVES = 2_000_000
VISITS = 850_000_000
"""And in all; and so many cores of readers are looked at for them, about. Where that leaves fewer moves than
the least, spikes reach so many cores that few moves help, and nothing is moved."""

HOT, COLD = 0.1, 0.003
"""Temperatures at the start and at the end, in shares of the cost that is a tile's in the mean."""

REACH = 2
"""Routers around a core that talks to a tile that are tried."""


def settle(
    network: Network,
    chip: Chip,
    rates: Mapping[str, float],
    groups: Sequence[Group],
    slots: Counts,
    seed: int,
) -> tuple[list[Group], Counts]:
    """The same tiles on as many cores, with a lower product of messages and hops; or what was given.

    What falls is ``messages / messages before + hops / hops before``, by the exact change of both for every
    move, so that neither rises by more than the share by which the other falls.

    Args:
        network: whose tiles they are.
        chip: limits of a core, and the mesh.
        rates: messages a neuron and step, by population.
        groups: one a core.
        slots: of every core.
        seed: of the moves.

    Returns:
        The tiles of every core, and its slot.
    """
    before = list(groups), slots
    if not 1 < len(groups) <= MOST_CORES:
        return before
    pieces = [piece for group in groups for piece in group.pieces]
    core_of = np.repeat(np.arange(len(groups)), [len(group.pieces) for group in groups])
    seats = seats_of(network, chip, rates, pieces, core_of)
    core_at = _seat(seats, chip, slots)
    messages, hops = total_loads(seats)
    if not hops or _moves(seats) < LEAST_MOVES * len(pieces):
        return before
    for number in range(ROUNDS):
        _trade(seats, core_at, seed * ROUNDS + number, HOT / (1 + number))
        pairs, spikes = pairs_of(seats)
        slots = improve(pairs, spikes, len(groups), chip, slots, seed + number, number + 1 == ROUNDS)
        core_at = _seat(seats, chip, slots)
    now = total_loads(seats)
    settled = [_group(pieces, tiles) for tiles in tiles_by_core(seats)]
    fits = not any(violations(group.demand.uses(network, chip), chip) for group in settled)
    return (settled, slots) if fits and now[0] * now[1] < messages * hops else before


def _trade(seats: Seats, core_at: NDArray[np.int64], seed: int, hot: float) -> None:
    messages, hops = total_loads(seats)
    share, moves = 2 / len(seats.core_of), _moves(seats)
    trade(seats, core_at, moves, hot * share, COLD * share, 1 / messages, 1 / hops, REACH, state_of(seed))


def _moves(seats: Seats) -> int:
    """Moves of a round. A move looks at the cores of readers of all atoms that its tile reads or holds."""
    tiles, length = len(seats.core_of), seats.heard.length
    looked_at = float((length[seats.heard.things].sum() + length.sum()) / tiles) + 1.0
    each = min(max(int(MOVES * len(seats.seats)), LEAST_MOVES), MOST_MOVES)
    return min(each * tiles, ALL_MOVES, int(VISITS / looked_at) + 1)


def _seat(seats: Seats, chip: Chip, slots: Counts) -> NDArray[np.int64]:
    """Give every core its place; [columns, rows, cores a router], the core there or -1."""
    table = slot_table(chip)
    seats.column[:], seats.row[:] = table[slots, 1], table[slots, 2]
    nobody = talk_of(np.zeros((0, 2), np.int64), np.zeros(0), len(slots))
    board = board_for(nobody, chip, slots)
    core_at: NDArray[np.int64] = np.where(board.slots_at >= 0, board.core_at[board.slots_at], -1)
    return core_at


def _group(pieces: Sequence[Piece], tiles: Sequence[int]) -> Group:
    own = [pieces[tile] for tile in sorted(tiles)]
    return Group(tuple(own), needed_by(own))
