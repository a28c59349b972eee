"""The chip as a mapper sees it: limits of a core, a mesh of cores, boards of chips.

A chip is read from a TOML file in which every number is a table with its value, unit, origin and
source (:class:`~spikeloom.compiler.graph.figure.Figure`). Nothing about a chip is written in code.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, sqrt
from pathlib import Path
from typing import Any

from spikeloom.compiler.graph.figure import Figure
from spikeloom.errors import InputError, Problem, counted

LIMITS: dict[str, str] = {
    "neurons": "neurons",
    "neuron_groups": "neuron groups (neurons that share parameters)",
    "synaptic_memory": "words of synaptic memory",
    "core_memory": "bytes of memory for synapses and neuron state",
    "axons_in": "axons that arrive",
    "axons_out": "axons that leave",
    "fan_in": "synapses of one neuron",
}
"""The limits of a core that the mapper knows, and what they count. A chip may declare any of them."""

MESH = ("columns", "rows", "cores_per_router", "usable_cores")
MULTICAST = "mesh.multicast"
"""1 where routers copy messages, 0 where not; a description that does not say so means 0."""

ENCODING = ("word_bits", "header_bits", "index_bits", "row_weights")
BOARD = ("chips", "columns")
SECTIONS = {"limits", "mesh", "encoding", "boards", "neuron", "numeric", "costs"}


@dataclass(frozen=True)
class Limit:
    """What one core holds at most.

    Attributes:
        name: a key of :data:`LIMITS`.
        value, unit: of the limit.
        origin, source: how it is known and where it can be read.
    """

    name: str
    value: int
    unit: str
    origin: str
    source: str


@dataclass(frozen=True)
class Encoding:
    """How synapses fill the memory.

    A row holds the weights from one source (an axon, or a channel and tap of a shared kernel) to
    the outputs on the core. It is stored in runs of at most ``row_weights`` weights, each with a
    header, padded to whole words; where the outputs of a row have no fixed order each weight
    carries an index.

    >>> Encoding(word_bits=64, header_bits=10, index_bits=7, row_weights=64).row_words(50, 8, True)
    12
    """

    word_bits: int
    header_bits: int
    index_bits: int
    row_weights: int

    def row_words(self, outputs: int, bits: int, indexed: bool) -> int:
        """Words of one row of ``outputs`` weights of ``bits`` each."""
        width = bits + (self.index_bits if indexed else 0)
        runs, rest = divmod(outputs, self.row_weights)
        words = runs * self._words(self.row_weights * width)
        return words + (self._words(rest * width) if rest else 0)

    def _words(self, bits: int) -> int:
        return -(-(bits + self.header_bits) // self.word_bits)


@dataclass(frozen=True)
class Mesh:
    """Routers of one chip in a grid, each with some cores; only the first ``usable_cores`` are used.

    Attributes:
        columns, rows: of routers.
        cores_per_router, usable_cores: of one chip.
        multicast: whether a router copies a message where the routes to its targets part. Where it does not,
            the core that sends a spike sends a message to each target.
    """

    columns: int
    rows: int
    cores_per_router: int
    usable_cores: int
    multicast: bool = False


@dataclass(frozen=True)
class Board:
    """A product that carries several chips in a grid of ``columns``."""

    name: str
    chips: int
    columns: int


@dataclass(frozen=True)
class Chip:
    """One chip, or several alike in a grid.

    Attributes:
        name: of the target.
        limits: of every core.
        encoding: of synapses in memory.
        mesh: of one chip.
        boards: that exist, from small to large.
        figures: every number of the description with its source, by dotted name.
        chips, chip_columns: how many are used, and how they are arranged.
    """

    name: str
    limits: tuple[Limit, ...]
    encoding: Encoding
    mesh: Mesh
    boards: tuple[Board, ...]
    figures: Mapping[str, Figure]
    chips: int = 1
    chip_columns: int = 1

    @property
    def cores(self) -> int:
        """Cores that can be used."""
        return self.chips * self.mesh.usable_cores

    @property
    def routers(self) -> tuple[int, int]:
        """Columns and rows of routers over all chips."""
        chip_rows = ceil(self.chips / self.chip_columns)
        return self.chip_columns * self.mesh.columns, chip_rows * self.mesh.rows

    @property
    def neurons(self) -> int:
        """The most neurons of a core."""
        return next(limit.value for limit in self.limits if limit.name == "neurons")

    def limit(self, name: str) -> Limit | None:
        """The limit of that name, or None if the chip has none."""
        return next((limit for limit in self.limits if limit.name == name), None)

    def with_chips(self, chips: int) -> Chip:
        """The same chip several times, as close together as the smallest board allows that has so many.

        Raises:
            InputError: SL0901, no board has so many.
        """
        board = self.board_for(chips)
        if chips < 1 or board is None:
            raise InputError.of(
                "SL0901",
                counted(chips, "chip"),
                f"no board of {self.name} has so many",
                wanted=f"1 to {self.boards[-1].chips}",
            )
        columns = board.columns if chips == board.chips else min(board.columns, ceil(sqrt(chips)))
        return replace(self, chips=chips, chip_columns=columns)

    def board_for(self, chips: int) -> Board | None:
        """The smallest board with at least so many chips."""
        return next((board for board in self.boards if board.chips >= chips), None)

    def position(self, slot: int) -> tuple[int, int, int]:
        """The chip of a core slot, and the column and row of its router over all chips.

        Slots count the usable cores chip by chip, router by router.
        """
        chip, core = divmod(slot, self.mesh.usable_cores)
        row, column = divmod(core // self.mesh.cores_per_router, self.mesh.columns)
        chip_row, chip_column = divmod(chip, self.chip_columns)
        return chip, chip_column * self.mesh.columns + column, chip_row * self.mesh.rows + row

    def to_json(self) -> dict[str, Any]:
        """The chip as a JSON object: its numbers with their sources, and how many chips."""
        return {
            "name": self.name,
            "chips": self.chips,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Chip:
        """The chip again.

        Raises:
            InputError: SL0703, the document is not a chip of this version.
        """
        try:
            figures = {name: Figure(**entry) for name, entry in document["figures"].items()}
            return _chip(document["name"], figures).with_chips(document["chips"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError.of("SL0703", "chip", f"does not describe a chip: {error}") from error


@dataclass(frozen=True)
class Description:
    """What the file of a chip says.

    Attributes:
        chip: for the mapper.
        neuron: sizes of a neuron's state, by name.
        numeric: the widths of its numbers, by name.
        costs: constants of its latency and energy, by name.
    """

    chip: Chip
    neuron: Mapping[str, Figure]
    numeric: Mapping[str, Figure]
    costs: Mapping[str, Figure]


def read_description(path: Path) -> Description:
    """Read the description of a chip.

    Raises:
        InputError: SL0604, the file cannot be read, or is malformed; all faults are listed.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError.of("SL0604", path, f"cannot be read: {error}") from error
    figures, problems = _figures(path, document)
    problems += _missing(path, document, figures)
    if problems:
        raise InputError(problems)
    chip_figures = {name: figures[name] for name in figures if name.split(".")[0] in _CHIP_SECTIONS}
    return Description(
        _chip(str(document["name"]), chip_figures),
        _section(figures, "neuron"),
        _section(figures, "numeric"),
        _section(figures, "costs"),
    )


_CHIP_SECTIONS = {"limits", "mesh", "encoding", "boards"}


def _figures(path: Path, document: Mapping[str, Any]) -> tuple[dict[str, Figure], list[Problem]]:
    figures: dict[str, Figure] = {}
    problems: list[Problem] = []
    for name, table in _tables("", {key: document[key] for key in document if key in SECTIONS}):
        try:
            figures[name] = Figure.from_table(f"{path.name}: {name}", table)
        except InputError as error:
            problems += error.problems
    return figures, problems


def _tables(prefix: str, document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Every table that holds a value rather than more tables, by its dotted name."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and all(isinstance(v, Mapping) for v in value.values()):
            found += _tables(f"{name}.", value)
        else:
            found.append((name, value if isinstance(value, Mapping) else {"value": value}))
    return found


def _missing(path: Path, document: Mapping[str, Any], figures: Mapping[str, Figure]) -> list[Problem]:
    boards = document.get("boards")
    board_names = list(boards) if isinstance(boards, Mapping) else []
    declared = {name for name, _ in _tables("", {k: document[k] for k in document if k in SECTIONS})}
    wanted = [f"mesh.{name}" for name in MESH] + [f"encoding.{name}" for name in ENCODING]
    wanted += [f"boards.{board}.{name}" for board in board_names for name in BOARD]
    faults = [f"{name} is missing" for name in wanted if name not in declared]
    faults += [] if board_names else ["boards is missing"]
    faults += [] if isinstance(document.get("name"), str) else ["name is missing"]
    limits = [name.removeprefix("limits.") for name in declared if name.startswith("limits.")]
    faults += [f"limits.{name} is not a limit the mapper knows" for name in limits if name not in LIMITS]
    faults += [] if "neurons" in limits else ["limits.neurons is missing"]
    faults += [f"{key} is not a section" for key in document if key not in SECTIONS | {"name", "summary"}]
    faults += [
        f"{name} is not a whole number above zero"
        for name, figure in figures.items()
        if name.split(".")[0] in _CHIP_SECTIONS - {"encoding"} and name != MULTICAST and not _is_count(figure)
    ]
    if MULTICAST in figures and figures[MULTICAST].nominal not in (0, 1):
        faults.append(f"{MULTICAST} is neither 0 nor 1")
    return [
        Problem("SL0604", path.name, fault, remedy="give value, unit, origin and source")
        for fault in sorted(faults)
    ]


def _is_count(figure: Figure) -> bool:
    return figure.nominal >= 1 and figure.nominal == int(figure.nominal)


def _section(figures: Mapping[str, Figure], section: str) -> dict[str, Figure]:
    return {
        name.removeprefix(f"{section}."): figure
        for name, figure in figures.items()
        if name.startswith(f"{section}.")
    }


def _chip(name: str, figures: Mapping[str, Figure]) -> Chip:
    def number(key: str) -> int:
        return int(figures[key].nominal)

    limits = _section(figures, "limits")
    boards = {key.split(".")[1] for key in figures if key.startswith("boards.")}
    columns, rows, per_router, usable = (number(f"mesh.{key}") for key in MESH)
    multicast = MULTICAST in figures and number(MULTICAST) == 1
    return Chip(
        name,
        tuple(Limit(key, int(f.nominal), f.unit, f.origin, f.source) for key, f in limits.items()),
        Encoding(*(number(f"encoding.{key}") for key in ENCODING)),
        Mesh(columns, rows, per_router, usable, multicast),
        tuple(
            sorted(
                (Board(b, number(f"boards.{b}.chips"), number(f"boards.{b}.columns")) for b in boards),
                key=lambda board: board.chips,
            )
        ),
        figures,
    )
