"""The mesh of the chip: routers with their cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, isqrt
from typing import TYPE_CHECKING

from spikeloom.runtime.report.cores import Core, Grid, Placement
from spikeloom.runtime.report.plots.figure import (
    ACCENT,
    HALF_WIDTH,
    INK,
    PANEL,
    RULE,
    draw,
    is_dark,
    panel,
    ramp,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CHIPS = 16
"""Chips that are drawn; a board of more shows its first ones."""

SMALLEST_TEXT = 9.0
"""Pixels that a core must be high to carry a number."""

Square = tuple[float, float, float]
Shade = Callable[["Axes", Core, Square], None]


def plot_populations(placement: Placement) -> str:
    """Each core in the colours of the populations on it, with their numbers."""
    colours = ramp(len(placement.populations))

    def shade(axes: Axes, core: Core, square: Square) -> None:
        left, top, side = square
        total = sum(neurons for _, neurons in core.parts)
        for index, neurons in core.parts:
            height = side * neurons / total
            _box(axes, left, top, side, height, colours[index])
            if height >= SMALLEST_TEXT:
                ink = "#ffffff" if is_dark(colours[index]) else "#000000"
                _number(axes, left + side / 2, top + height / 2, str(index + 1), ink, height)
            top += height

    return _mesh(placement, "cores-by-layer", "Cores of the chip, coloured by layer", shade)


def plot_fill(placement: Placement) -> str:
    """Each core the darker, the more of its binding limit it uses, with the percentage."""

    def shade(axes: Axes, core: Core, square: Square) -> None:
        left, top, side = square
        _box(axes, left, top, side, side, ACCENT, 0.08 + 0.82 * min(core.fill, 1))
        _number(axes, left + side / 2, top + side / 2, f"{100 * core.fill:.0f}", INK, side)

    return _mesh(placement, "cores-by-fill", "Cores of the chip, by the use of their binding limit", shade)


def _mesh(placement: Placement, name: str, about: str, shade: Shade) -> str:
    layout = _Layout(placement.grid)

    def paint(figure: Figure) -> None:
        axes = panel(figure, 0, 0, 0, 0)
        axes.set(xlim=(0, HALF_WIDTH), ylim=(layout.height, 0))
        axes.set_axis_off()
        for left, top in layout.routers():
            _box(axes, left, top, layout.router, layout.router, PANEL)
        for square in layout.cores():
            _box(axes, *square, square[2], RULE, 0.55)
        for core in placement.cores:
            if core.chip < layout.chips:
                left, top = layout.router_at(core.column, core.row)
                shade(axes, core, layout.core_at(left, top, core.place))

    return draw(name, about, HALF_WIDTH, layout.height, paint)


class _Layout:
    """Where routers and cores lie, in pixels."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.chips = min(grid.chips, MOST_CHIPS)
        self.chip_columns = min(grid.chip_columns, self.chips)
        self.chip_rows = ceil(self.chips / grid.chip_columns)
        self.chip_gap = 10.0 if self.chips > 1 else 0.0
        columns = grid.columns * self.chip_columns
        self.pitch = (HALF_WIDTH - self.chip_gap * (self.chip_columns - 1)) / columns
        self.gap = min(4.0, self.pitch / 8)
        self.router = self.pitch - self.gap
        self.across = isqrt(grid.cores_per_router - 1) + 1
        self.height = (
            self.pitch * grid.rows * self.chip_rows + self.chip_gap * (self.chip_rows - 1) - self.gap
        )

    def router_at(self, column: int, row: int) -> tuple[float, float]:
        """Left and top of a router, counted over all chips."""
        left = column * self.pitch + column // self.grid.columns * self.chip_gap
        return left, row * self.pitch + row // self.grid.rows * self.chip_gap

    def core_at(self, left: float, top: float, place: int) -> Square:
        """Left, top and side of a core of a router."""
        margin = self.gap / 2
        pitch = (self.router - margin) / self.across
        row, column = divmod(place, self.across)
        return left + margin + column * pitch, top + margin + row * pitch, pitch - margin

    def routers(self) -> Iterator[tuple[float, float]]:
        """Left and top of every router that is drawn."""
        for chip in range(self.chips):
            chip_row, chip_column = divmod(chip, self.grid.chip_columns)
            for row in range(self.grid.rows):
                for column in range(self.grid.columns):
                    yield self.router_at(
                        chip_column * self.grid.columns + column, chip_row * self.grid.rows + row
                    )

    def cores(self) -> Iterator[Square]:
        """Every usable core that is drawn."""
        for number, (left, top) in enumerate(self.routers()):
            first = number % (self.grid.columns * self.grid.rows) * self.grid.cores_per_router
            usable = min(self.grid.cores_per_router, self.grid.usable_cores - first)
            for place in range(usable):
                yield self.core_at(left, top, place)


def _box(
    axes: Axes, left: float, top: float, width: float, height: float, colour: str, alpha: float = 1
) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((left, top), width, height, facecolor=colour, alpha=alpha, linewidth=0))


def _number(axes: Axes, x: float, y: float, text: str, colour: str, room: float) -> None:
    if room >= SMALLEST_TEXT:
        axes.text(x, y, text, ha="center", va="center", fontsize=min(9.5, room * 0.62), color=colour)
