"""From a network to groups of tiles, one a core: shapes for all layers, packed, until they fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from spikeloom.compiler.mapping.bounds import least_cores
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.demand import tile_demand
from spikeloom.compiler.mapping.network import Network, Population
from spikeloom.compiler.mapping.pack import Group, Packing
from spikeloom.compiler.mapping.shapes import Family, Shape, ShapeChooser, families, fitting
from spikeloom.compiler.mapping.tiles import Piece, TileChooser
from spikeloom.errors import Problem, UnsupportedError

SLACK = 1.02
"""Cores over the bound that are spent to save messages."""

ROUNDS = 7
"""How often shapes are chosen for fewer cores where packing took more than it should."""

PACKED = 12_000
"""Cores that are packed in all rounds together: large networks have fewer rounds, with longer steps."""


def cut(network: Network, chip: Chip, rates: Mapping[str, float], slack: float = SLACK) -> list[Group]:
    """Tiles on cores that keep every limit, with few messages on at most ``slack`` times the fewest cores.

    Where so few cores cannot be reached, the fewest that were found are taken.

    Raises:
        UnsupportedError: SL0603, for every limit that a single neuron exceeds.
    """
    kin = families(network)
    chooser = ShapeChooser(network, chip, rates, kin)
    hard = _hard_tiles(network, chip, rates, kin, chooser)
    most = max(int(slack * least_cores(network, chip).cores), 1)
    budget = float(most)
    best: tuple[bool, float, list[Group]] | None = None
    tried: set[tuple[Shape | None, ...]] = set()
    rounds = min(max(PACKED // most, 2), ROUNDS)
    for _ in range(rounds):
        shapes = chooser.choose(budget)
        if tuple(shapes) not in tried:
            tried.add(tuple(shapes))
            groups = _packed(network, chip, rates, kin, shapes, hard, most)
            over = len(groups) > most
            rank = over, float(len(groups)) if over else _arriving(groups, rates), groups
            best = rank if best is None or rank[:2] < best[:2] else best
            if not over:
                break
            budget -= max((len(groups) - most) / (2 if rounds == ROUNDS else 1), 0.5)
        else:
            budget *= 0.98
    assert best is not None
    return best[2]


def _hard_tiles(
    network: Network, chip: Chip, rates: Mapping[str, float], kin: Sequence[Family], chooser: ShapeChooser
) -> list[list[Piece]]:
    """Tiles of the families for which no shape fits."""
    tiles: list[list[Piece]] = []
    problems: list[Problem] = []
    one_by_one = TileChooser(network, chip, rates)
    for family, options in zip(kin, chooser.options, strict=True):
        for population in (*family.members, *family.followers) if not options else ():
            pieces, faults = one_by_one.choose(population)
            tiles += [[piece] for piece in pieces]
            problems += faults
    if problems:
        raise UnsupportedError(problems)
    return tiles


def _packed(
    network: Network,
    chip: Chip,
    rates: Mapping[str, float],
    kin: Sequence[Family],
    shapes: Sequence[Shape | None],
    hard: Sequence[list[Piece]],
    most: int,
) -> list[Group]:
    packing = Packing(network, chip, rates)
    light: dict[str, list[Box]] = {}
    small: list[list[Piece]] = []
    for family, shape in zip(kin, shapes, strict=True):
        if shape is None:
            continue
        for tiles, is_light in _tiles(network, chip, family, shape):
            if is_light and not tiles[0][0].together:
                for population, part in tiles:
                    light.setdefault(population.name, []).append(part)
                continue
            pieces = [Piece(one.name, part, tile_demand(network, one, part)) for one, part in tiles]
            if packing.is_heavy(pieces):
                packing.open(pieces)
            else:
                small.append(pieces)
    for pieces in (*small, *hard):
        packing.add(pieces)
    packing.fill(light, most)
    return packing.groups()


def _tiles(
    network: Network, chip: Chip, family: Family, shape: Shape
) -> Iterator[tuple[list[tuple[Population, Box]], bool]]:
    """What each tile holds, and whether it may be cut further."""
    together = Family(family.members) if shape.apart else family
    whole = [
        (together, shape),
        *((Family((one,)), own) for one, own in zip(family.followers, shape.apart, strict=False)),
    ]
    for one, own in whole:
        for block in own.blocks.boxes(one.shape):
            for box in fitting(network, chip, one, block):
                yield one.boxes(box), own.is_light


def _arriving(groups: Sequence[Group], rates: Mapping[str, float]) -> float:
    return sum(group.demand.arriving(rates) for group in groups)
