"""From a network to groups of tiles, one a core: shapes for all layers, packed, until they fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from spikeloom.compiler.mapping.bounds.cores import least_cores
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.tiling.dissolve import dissolve
from spikeloom.compiler.mapping.tiling.pack import MANY, Group, Packing
from spikeloom.compiler.mapping.tiling.regroup import regroup
from spikeloom.compiler.mapping.tiling.shapes import Choice, Family, Shape, ShapeChooser, families, fitting
from spikeloom.compiler.mapping.tiling.tiles import Piece, TileChooser
from spikeloom.errors import Problem, UnsupportedError

SLACK = 1.02
"""Cores over the bound that are spent to save messages."""

ROUNDS = 7
"""How often shapes are chosen for fewer cores where packing took more than it should."""

PACKED = 12_000
"""Cores that are packed in all rounds together: large networks have fewer rounds, with longer steps, and one
round above what fills gaps where it saves messages."""


REPAIRED = 1.06
"""Packings on at most so many times the cores that there should be are repaired, and the one on fewest."""


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
    found: list[list[Group]] = []
    tried: set[tuple[Choice, ...]] = set()
    rounds = min(max(PACKED // most, 2), ROUNDS) if most <= MANY else 1
    for _ in range(rounds):
        shapes = chooser.choose(budget)
        if tuple(shapes) not in tried:
            tried.add(tuple(shapes))
            groups = _packed(network, chip, rates, shapes, hard, most)
            if len(groups) <= most:
                return regroup(network, chip, rates, groups)
            found.append(groups)
            budget -= max((len(groups) - most) / (2 if rounds == ROUNDS else 1), 0.5)
        else:
            budget *= 0.98
    return regroup(network, chip, rates, _repaired(network, chip, rates, found, most))


def _repaired(
    network: Network, chip: Chip, rates: Mapping[str, float], found: Sequence[list[Group]], most: int
) -> list[Group]:
    """Of groups on too many cores, those of fewest messages from which so many can be given up.

    Where none has so many to give, the fewest cores that were reached.
    """
    fewest = min(found, key=lambda groups: (len(groups), _arriving(groups, rates)))
    close = [groups for groups in found if len(groups) <= REPAIRED * most or groups is fewest]
    for groups in sorted(close, key=lambda groups: _arriving(groups, rates)) if most < PACKED else ():
        given_up = dissolve(network, chip, rates, groups, most)
        if len(given_up) <= most:
            return given_up
        fewest = min(fewest, given_up, key=len)
    return fewest


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
    choices: Sequence[Choice],
    hard: Sequence[list[Piece]],
    most: int,
) -> list[Group]:
    packing = Packing(network, chip, rates)
    light: dict[Family, list[Box]] = {}
    small: list[list[Piece]] = []
    for choice in choices:
        for family, shape in _parts(*choice):
            for block in shape.blocks.boxes(family.shape):
                for box, pieces in fitting(network, chip, family, block):
                    if shape.is_light and not family.members[0].together:
                        light.setdefault(family, []).append(box)
                    elif packing.is_heavy(pieces):
                        packing.open(pieces)
                    else:
                        small.append(pieces)
    for pieces in (*small, *hard):
        packing.add(pieces)
    packing.fill(light, most)
    return packing.groups()


def _parts(family: Family, shape: Shape) -> Iterator[Choice]:
    """A family with its followers, or without them and each of them by itself."""
    if not shape.apart:
        yield family, shape
        return
    yield Family(family.members), shape
    for one, own in zip(family.followers, shape.apart, strict=True):
        yield Family((one,)), own


def _arriving(groups: Sequence[Group], rates: Mapping[str, float]) -> float:
    return sum(group.demand.arriving(rates) for group in groups)
