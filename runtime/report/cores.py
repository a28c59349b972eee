"""The network on the cores of a chip, as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.graph.figure import Figure
from spikeloom.compiler.mapping.chip import LIMITS, Chip
from spikeloom.compiler.mapping.placement import Load
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.runtime.report.tally import Tally


@dataclass(frozen=True)
class PlacedPopulation:
    """A population that occupies cores.

    Attributes:
        name, role, tag, neurons: of the population.
        cores: how many hold some of it.
    """

    name: str
    role: str
    tag: str
    neurons: int
    cores: int


@dataclass(frozen=True)
class CoreLimit:
    """A limit of every core: its name, its value, and what it counts."""

    name: str
    value: int
    meaning: str


@dataclass(frozen=True)
class Core:
    """A core in use.

    Attributes:
        number: of the core.
        chip, column, row: of its router; column and row count over all chips.
        place: which of its router's cores it is.
        parts: index of each population on it, in order, and how many of its neurons.
        uses: of each limit.
        binding, fill: the limit that it uses most, and the share of it.
        spikes: that its neurons fired, over all samples; products and accumulators not counted.
    """

    number: int
    chip: int
    column: int
    row: int
    place: int
    parts: tuple[tuple[int, int], ...]
    uses: Mapping[str, int]
    binding: str
    fill: float
    spikes: int


@dataclass(frozen=True)
class Grid:
    """The routers of a chip, and how chips lie.

    Attributes:
        columns, rows: routers of one chip.
        cores_per_router, usable_cores: of one chip.
        chips, chip_columns: how many chips, and in how many columns.
    """

    columns: int
    rows: int
    cores_per_router: int
    usable_cores: int
    chips: int
    chip_columns: int


@dataclass(frozen=True)
class Placement:
    """The whole mapping.

    Attributes:
        chip: name of the chip.
        grid: of routers and chips.
        available: cores that could be used.
        populations: in the order of the data flow.
        limits: of every core.
        cores: those in use, by number.
        bound, bound_limit: no mapping needs fewer cores, by this limit.
        load: messages per time step on calibration recordings.
        figures: every number of the chip's description with its source.
    """

    chip: str
    grid: Grid
    available: int
    populations: tuple[PlacedPopulation, ...]
    limits: tuple[CoreLimit, ...]
    cores: tuple[Core, ...]
    bound: int
    bound_limit: str
    load: Load
    figures: Mapping[str, Figure]

    def fullest(self, count: int) -> list[Core]:
        """The cores that use most of any one limit, the fullest first."""
        return sorted(self.cores, key=lambda core: (-core.fill, core.number))[:count]


def collect_placement(bundle: Bundle, tally: Tally) -> Placement | None:
    """The mapping in a bundle with the spikes of a run, or None if it has no mapping.

    Raises:
        InputError: SL0703, the bundle's mapping is not of this version.
    """
    if "mapping.json" not in bundle.members:
        return None
    mapping = ChipMapping.from_json(bundle.json("mapping.json"), bundle.json("network.json"))
    spikes, parts = _spikes(mapping, tally), _parts(mapping)
    chip = mapping.chip
    return Placement(
        chip.name,
        _grid(chip),
        chip.cores,
        _populations(mapping),
        _limits(chip),
        tuple(
            _core(mapping, number, parts.get(number, {}), int(spikes[number]))
            for number in range(len(mapping.cores))
        ),
        mapping.bound.cores,
        mapping.bound.limit,
        mapping.load,
        chip.figures,
    )


def _limits(chip: Chip) -> tuple[CoreLimit, ...]:
    limits = {limit.name: limit.value for limit in chip.limits}
    return tuple(CoreLimit(name, limits[name], text) for name, text in LIMITS.items() if name in limits)


def _grid(chip: Chip) -> Grid:
    mesh = chip.mesh
    return Grid(
        mesh.columns, mesh.rows, mesh.cores_per_router, mesh.usable_cores, chip.chips, chip.chip_columns
    )


def _populations(mapping: ChipMapping) -> tuple[PlacedPopulation, ...]:
    cores: dict[str, set[int]] = {}
    for tile in mapping.tiles:
        cores.setdefault(tile.population, set()).add(tile.core)
    return tuple(
        PlacedPopulation(one.name, one.role, one.tag, one.size, len(cores.get(one.name, ())))
        for one in mapping.network.placed
    )


def _parts(mapping: ChipMapping) -> dict[int, dict[int, int]]:
    """For each core, the neurons of each population on it, by the population's index."""
    order = {population.name: index for index, population in enumerate(mapping.network.placed)}
    parts: dict[int, dict[int, int]] = {}
    for tile in mapping.tiles:
        row, index = parts.setdefault(tile.core, {}), order[tile.population]
        row[index] = row.get(index, 0) + tile.box.size
    return parts


def _core(mapping: ChipMapping, number: int, parts: Mapping[int, int], spikes: int) -> Core:
    core = mapping.cores[number]
    mesh = mapping.chip.mesh
    return Core(
        number,
        core.chip,
        core.column,
        core.row,
        core.slot % mesh.usable_cores % mesh.cores_per_router,
        tuple(sorted(parts.items())),
        core.uses,
        *mapping.binding_limit(number),
        spikes,
    )


def _spikes(mapping: ChipMapping, tally: Tally) -> NDArray[np.int64]:
    """Spikes of the neuron layers by core."""
    total = np.zeros(len(mapping.cores), np.int64)
    for layer, fired in tally.fired.items():
        np.add.at(total, mapping.cores_of(layer).ravel(), fired.ravel())
    return total
