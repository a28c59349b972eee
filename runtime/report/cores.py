"""The network on the cores of a chip, as the page shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.graph.figure import Figure
from spikeloom.compiler.mapping.chip import LIMITS, Chip
from spikeloom.compiler.mapping.explanation import Explanation
from spikeloom.compiler.mapping.placement import Links, Load
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.runtime.report.tally import Tally


@dataclass(frozen=True)
class PlacedPopulation:
    """A population that occupies cores.

    Attributes:
        name, role, tag, neurons: of the population.
        cores: how many hold some of it.
        limit: that binds most of these.
    """

    name: str
    role: str
    tag: str
    neurons: int
    cores: int
    limit: str


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
        traffic: messages a step to and from other cores.
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
    traffic: float
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
        links: what each link carries of them.
        explanation: what binds the mapping; None where a bundle does not have it.
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
    links: Links
    explanation: Explanation | None
    figures: Mapping[str, Figure]

    @property
    def most_traffic(self) -> float:
        """Messages a step of the core that exchanges most."""
        return max((core.traffic for core in self.cores), default=0.0)

    def in_use(self) -> Placement:
        """The same without the rows and columns of chips beyond the last ones that have a core in use."""
        grid = self.grid
        across = max((core.column for core in self.cores), default=0) // grid.columns + 1
        down = max((core.row for core in self.cores), default=0) // grid.rows + 1
        width, height = across * grid.columns, down * grid.rows
        lanes = {
            way: tuple(lane[:width] for lane in getattr(self.links, way)[:height])
            for way in ("east", "west", "south", "north")
        }
        cropped = replace(grid, chips=across * down, chip_columns=across)
        return replace(self, grid=cropped, links=Links(**lanes))

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
    explained = "explanation.json" in bundle.members
    explanation = Explanation.from_json(bundle.json("explanation.json")) if explained else None
    return placement_of(mapping, explanation, _spikes(mapping, tally))


def placement_of(
    mapping: ChipMapping, explanation: Explanation | None, spikes: NDArray[np.int64] | None = None
) -> Placement:
    """The mapping as a page shows it.

    Args:
        mapping: of a network onto a chip.
        explanation: of it, if there is one.
        spikes: of each core; none where nothing was run.
    """
    parts, chip = _parts(mapping), mapping.chip
    fired = np.zeros(len(mapping.cores), np.int64) if spikes is None else spikes
    return Placement(
        chip.name,
        _grid(chip),
        chip.cores,
        _populations(mapping),
        _limits(chip),
        tuple(
            _core(mapping, number, parts.get(number, {}), int(fired[number]))
            for number in range(len(mapping.cores))
        ),
        mapping.bound.cores,
        mapping.bound.limit,
        mapping.load,
        mapping.links,
        explanation,
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
    binding = [mapping.binding_limit(core)[0] for core in range(len(mapping.cores))]
    return tuple(
        PlacedPopulation(
            one.name, one.role, one.tag, one.size, len(cores[one.name]), _most(binding, cores[one.name])
        )
        for one in mapping.network.placed
    )


def _most(binding: Sequence[str], cores: Collection[int]) -> str:
    """The limit that binds most of some cores."""
    return Counter(binding[core] for core in sorted(cores)).most_common(1)[0][0]


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
        core.sent + core.received,
        spikes,
    )


def _spikes(mapping: ChipMapping, tally: Tally) -> NDArray[np.int64]:
    """Spikes of the neuron layers by core."""
    total = np.zeros(len(mapping.cores), np.int64)
    for layer, fired in tally.fired.items():
        np.add.at(total, mapping.cores_of(layer).ravel(), fired.ravel())
    return total
