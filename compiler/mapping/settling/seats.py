"""Tiles on cores, as compiled loops take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.settling.atoms import Atoms, atoms_of
from spikeloom.compiler.mapping.tiling.tiles import Piece

Counts = NDArray[np.int64]
Weights = NDArray[np.float64]


class Rows(NamedTuple):
    """Things, who uses them, and on which cores: a table of lists each.

    Attributes:
        first, things: rows of tiles: what each uses.
        start, core, times, length: rows of things: the cores on which one is used, and by how many tiles.
    """

    first: Counts
    things: Counts
    start: Counts
    core: Counts
    times: Counts
    length: Counts


class Seats(NamedTuple):
    """Tiles, cores, what tiles read and what they keep.

    Attributes:
        core_of: of every tile.
        column, row: of every core.
        tiles_on, seats, place: [cores, most] tiles on each core, how many, and where in its row a tile is.
        heard: the atoms of neurons that each tile reads.
        first, sent: rows of tiles: the atoms that each holds.
        source, spikes: of every atom, the tile that holds it and its messages a step to one core.
        kept: what cores store once for all tiles on them: rows of kernels, axons, parameter groups.
        amounts: [things kept, limits], what each takes.
        own: [tiles, limits], what a tile takes for itself.
        used: [cores, limits].
        limits: of a core.
    """

    core_of: Counts
    column: Counts
    row: Counts
    tiles_on: Counts
    seats: Counts
    place: Counts
    heard: Rows
    first: Counts
    sent: Counts
    source: Counts
    spikes: Weights
    kept: Rows
    amounts: Counts
    own: Counts
    used: Counts
    limits: Counts


def seats_of(
    network: Network, chip: Chip, rates: Mapping[str, float], pieces: Sequence[Piece], core_of: Counts
) -> Seats:
    """Tiles on the cores given, all of them in the corner of the mesh.

    Args:
        network: whose tiles they are.
        chip: limits of a core.
        rates: messages a neuron and step, by population.
        pieces: the tiles.
        core_of: of each.
    """
    cores = int(core_of.max()) + 1
    source, spikes, atom, reader = _atoms_sent(rates, pieces)
    heard = _rows(atom, reader, len(source), core_of)
    order = np.argsort(source, kind="stable")
    first = np.searchsorted(source[order], np.arange(len(pieces) + 1))
    thing, keeper, amounts = _things_kept(network, chip, pieces)
    kept = _rows(thing, keeper, len(amounts), core_of)
    own, limits = _own(chip, pieces), _limits(chip)
    used = np.zeros((cores, len(limits)), np.int64)
    np.add.at(used, core_of, own)
    for one in range(len(amounts)):
        used[kept.core[kept.start[one] : kept.start[one] + kept.length[one]]] += amounts[one]
    count = np.bincount(core_of, minlength=cores)
    by_core = np.argsort(core_of, kind="stable")
    place = np.empty(len(pieces), np.int64)
    place[by_core] = np.arange(len(pieces)) - np.searchsorted(core_of[by_core], core_of[by_core])
    tiles_on = np.full((cores, 2 * int(count.max()) + 16), -1, np.int64)
    tiles_on[core_of, place] = np.arange(len(pieces))
    where = np.zeros(cores, np.int64), np.zeros(cores, np.int64)
    return Seats(
        core_of.copy(), *where, tiles_on, count, place,
        heard, first.astype(np.int64), order, source, spikes, kept, amounts, own, used, limits,
    )  # fmt: skip


def _atoms_sent(
    rates: Mapping[str, float], pieces: Sequence[Piece]
) -> tuple[Counts, Weights, Counts, Counts]:
    """Atoms of neurons that the same tiles read: their tile, messages; pairs of an atom and a reader."""
    held: dict[str, list[tuple[int, Box]]] = {}
    read: dict[str, list[tuple[int, Box]]] = {}
    for number, piece in enumerate(pieces):
        held.setdefault(piece.population, []).append((number, piece.box))
        for name, boxes in piece.demand.reads.items():
            read.setdefault(name, []).extend((number, box) for box in boxes)
    found = [(rates[name], atoms_of(boxes, held[name])) for name, boxes in read.items() if name in held]
    atom, reader = _joined([atoms for _, atoms in found])
    source = np.concatenate([atoms.holder for _, atoms in found] or [np.zeros(0, np.int64)])
    spikes = np.concatenate([rate * atoms.sizes for rate, atoms in found] or [np.zeros(0)])
    return source, spikes, atom, reader


def _things_kept(network: Network, chip: Chip, pieces: Sequence[Piece]) -> tuple[Counts, Counts, Counts]:
    """Pairs of a thing and a tile that needs it on its core, and what each thing takes of every limit."""
    rows: dict[object, list[tuple[int, Box]]] = {}
    axons: dict[int, list[tuple[int, Box]]] = {}
    groups: dict[str, list[tuple[int, Box]]] = {}
    words: dict[object, int] = {}
    for number, piece in enumerate(pieces):
        for one, boxes in piece.demand.rows.items():
            rows.setdefault(one, []).extend((number, box) for box in boxes)
            outputs = prod(stop - start for start, stop in one.outputs)
            words[one] = chip.encoding.row_words(outputs, network.kernel(one.kernel).bits, one.indexed)
        for projection, boxes in piece.demand.axons_in.items():
            axons.setdefault(projection, []).extend((number, box) for box in boxes)
        for group in piece.demand.groups:
            groups.setdefault(group, []).append((number, Box(((0, 1),))))
    found = [(atoms_of(boxes), _takes(chip, words=words[one])) for one, boxes in rows.items()]
    if chip.limit("axons_in") is not None:
        found += [(atoms_of(boxes), _takes(chip, axons=1)) for boxes in axons.values()]
    if chip.limit("neuron_groups") is not None:
        found += [(atoms_of(boxes), _takes(chip, groups=1)) for boxes in groups.values()]
    thing, keeper = _joined([atoms for atoms, _ in found])
    amounts = [np.multiply.outer(atoms.sizes, takes) for atoms, takes in found]
    return thing, keeper, np.concatenate(amounts or [np.zeros((0, len(_limits(chip))), np.int64)])


def _takes(
    chip: Chip,
    neurons: int = 0,
    state: int = 0,
    out: int = 0,
    words: int = 0,
    axons: int = 0,
    groups: int = 0,
) -> Counts:
    """What something takes of every limit; of the core's memory in bits."""
    amounts = {
        "neurons": neurons,
        "neuron_groups": groups,
        "synaptic_memory": words,
        "core_memory": words * chip.encoding.word_bits + 8 * state,
        "axons_in": axons,
        "axons_out": out,
        "fan_in": 0,
    }
    return np.array([amounts[limit.name] for limit in chip.limits], np.int64)


def _limits(chip: Chip) -> Counts:
    """Of every limit what a core has; bits that do not fill a byte of the core's memory are free."""
    return np.array(
        [8 * one.value + 7 if one.name == "core_memory" else one.value for one in chip.limits], np.int64
    )


def _own(chip: Chip, pieces: Sequence[Piece]) -> Counts:
    demands = (piece.demand for piece in pieces)
    return np.array(
        [_takes(chip, neurons=d.neurons, state=d.state_bytes, out=d.axons_out) for d in demands], np.int64
    )


def _joined(parts: Sequence[Atoms]) -> tuple[Counts, Counts]:
    """The pairs of several, with atoms numbered on."""
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = np.cumsum([0, *(len(part.sizes) for part in parts[:-1])])
    atoms = [part.atom + start for part, start in zip(parts, starts.tolist(), strict=True)]
    return np.concatenate(atoms), np.concatenate([part.member for part in parts])


def _rows(thing: Counts, user: Counts, things: int, core_of: Counts) -> Rows:
    """Rows of tiles and of things from pairs; a row of a thing has room for as many cores as it has users."""
    order = np.lexsort((thing, user))
    first = np.searchsorted(user[order], np.arange(len(core_of) + 1)).astype(np.int64)
    uses = np.bincount(thing, minlength=things)
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(uses)]).astype(np.int64)
    cores = int(core_of.max()) + 1
    keys, times = np.unique(thing * cores + core_of[user], return_counts=True)
    row, core = keys // cores, keys % cores
    length = np.bincount(row, minlength=things).astype(np.int64)
    at = start[row] + np.arange(len(row)) - np.searchsorted(row, row)
    core_at, times_at = np.zeros(len(thing), np.int64), np.zeros(len(thing), np.int64)
    core_at[at], times_at[at] = core, times
    return Rows(first, thing[order], start, core_at, times_at, length)


def total_loads(seats: Seats) -> tuple[float, float]:
    """Messages and hops a step."""
    (here, there), spikes = _flows(seats)
    apart = abs(seats.column[here] - seats.column[there]) + abs(seats.row[here] - seats.row[there])
    return float(spikes[here != there].sum()), float((spikes * apart).sum())


def pairs_of(seats: Seats) -> tuple[Counts, Weights]:
    """Pairs [flows, 2] of cores that exchange messages, and the messages a step of each."""
    (here, there), spikes = _flows(seats)
    talking = here != there
    return np.stack([here, there], 1)[talking], spikes[talking]


def _flows(seats: Seats) -> tuple[tuple[Counts, Counts], Weights]:
    """For every atom and core that reads it: the cores of both, and the messages of the atom."""
    heard = seats.heard
    atom = np.repeat(np.arange(len(heard.length)), heard.length)
    offset = np.arange(len(atom)) - np.repeat(np.cumsum(heard.length) - heard.length, heard.length)
    return (seats.core_of[seats.source[atom]], heard.core[heard.start[atom] + offset]), seats.spikes[atom]


def tiles_by_core(seats: Seats) -> list[list[int]]:
    """The tiles on every core."""
    return [row[:count] for row, count in zip(seats.tiles_on.tolist(), seats.seats.tolist(), strict=True)]
