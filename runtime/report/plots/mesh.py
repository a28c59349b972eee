"""The mesh of the chip: routers with their cores, as squares or, where they are many, as pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, isqrt
from typing import TYPE_CHECKING

import numpy as np

from spikeloom.runtime.report.cores import Core, Grid, Placement
from spikeloom.runtime.report.plots.figure import HALF_WIDTH, INK, MUTED, PANEL, RULE, draw, is_dark, panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WHOLE_WIDTH = 840
"""Of a plot that takes both of the page's columns, in pixels."""

SMALLEST_TEXT = 9.0
"""Pixels that a core must be high to carry a number."""

SMALLEST_SQUARE = 5.0
"""Cores smaller than this are drawn as pixels of one image."""

FREE = (0.5, 0.5, 0.5, 0.16)
"""A core that is not used, as a pixel."""

PIXEL, GAP = 3, 1
"""Image points of a core with its gap, and of the gap; where they would be too narrow 1 and none."""

NARROWEST = 8.0
"""Pixels from a core to the next below which gaps between them blur into stripes."""

Square = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """A part of a core's square.

    Attributes:
        colour, alpha: that it is painted in.
        share: of the square's height.
        text: that stands in it if there is room.
    """

    colour: str
    alpha: float = 1.0
    share: float = 1.0
    text: str = ""


Look = Callable[[Core], tuple[Part, ...]]


def is_fine(grid: Grid) -> bool:
    """Whether there are so many cores that each is a pixel; such plots take the page's whole width."""
    layout = Layout(grid, HALF_WIDTH)
    return layout.core_at(0, 0, 0)[2] < SMALLEST_SQUARE


def width_of(grid: Grid) -> int:
    """Pixels of a plot of the mesh."""
    return WHOLE_WIDTH if is_fine(grid) else HALF_WIDTH


def draw_cores(placement: Placement, name: str, about: str, look: Look) -> str:
    """Every core as it looks, at its place on the mesh.

    Args:
        placement: the mapping.
        name: of the plot, unique on the page.
        about: what it shows, for those who cannot see it.
        look: the parts of a core's square from top to bottom.
    """
    layout = Layout(placement.grid, width_of(placement.grid))
    paint = _paint_pixels if is_fine(placement.grid) else _paint_squares

    def painted(figure: Figure) -> None:
        axes = panel(figure, 0, 0, 0, 0)
        axes.set(xlim=(0, layout.width), ylim=(layout.height, 0))
        axes.set_axis_off()
        paint(axes, placement, layout, look)

    return draw(name, about, layout.width, layout.height, painted)


class Layout:
    """Where routers and cores lie, in pixels."""

    def __init__(self, grid: Grid, width: float) -> None:
        self.grid = grid
        self.width = width
        self.chip_columns = min(grid.chip_columns, grid.chips)
        self.chip_rows = ceil(grid.chips / grid.chip_columns)
        self.chip_gap = min(10.0, width / 12 / self.chip_columns) if grid.chips > 1 else 0.0
        columns = grid.columns * self.chip_columns
        self.pitch = (width - self.chip_gap * (self.chip_columns - 1)) / columns
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

    def places(self) -> Iterator[tuple[int, int, int]]:
        """Column and row of every router, and how many of its cores can be used."""
        for chip in range(self.grid.chips):
            chip_row, chip_column = divmod(chip, self.grid.chip_columns)
            for number in range(self.grid.rows * self.grid.columns):
                row, column = divmod(number, self.grid.columns)
                rest = self.grid.usable_cores - number * self.grid.cores_per_router
                usable = max(min(self.grid.cores_per_router, rest), 0)
                yield chip_column * self.grid.columns + column, chip_row * self.grid.rows + row, usable


def _paint_squares(axes: Axes, placement: Placement, layout: Layout, look: Look) -> None:
    for column, row, usable in layout.places():
        left, top = layout.router_at(column, row)
        box(axes, left, top, layout.router, layout.router, PANEL)
        for place in range(usable):
            free = layout.core_at(left, top, place)
            box(axes, *free, free[2], RULE, 0.55)
    for core in placement.cores:
        left, top, side = layout.core_at(*layout.router_at(core.column, core.row), core.place)
        for part in look(core):
            height = side * part.share
            box(axes, left, top, side, height, part.colour, part.alpha)
            ink = INK if part.alpha < 1 else "#ffffff" if is_dark(part.colour) else "#000000"
            number(axes, left + side / 2, top + height / 2, part.text, ink, height)
            top += height


def _paint_pixels(axes: Axes, placement: Placement, layout: Layout, look: Look) -> None:
    """One image of all cores; a core of several populations has the colour of the largest."""
    from matplotlib.colors import to_rgba

    grid, across = layout.grid, layout.across
    columns, rows = grid.columns * layout.chip_columns * across, grid.rows * layout.chip_rows * across
    pixel, gap = (PIXEL, GAP) if layout.pitch / across >= NARROWEST else (1, 0)
    image = np.zeros((rows * pixel, columns * pixel, 4))

    def fill(column: int, row: int, place: int, colour: tuple[float, ...]) -> None:
        down, right = divmod(place, across)
        top, left = (row * across + down) * pixel, (column * across + right) * pixel
        image[top : top + pixel - gap, left : left + pixel - gap] = colour

    for column, row, usable in layout.places():
        for place in range(usable):
            fill(column, row, place, FREE)
    for core in placement.cores:
        part = max(look(core), key=lambda one: one.share)
        fill(core.column, core.row, core.place, to_rgba(part.colour, part.alpha))
    axes.imshow(image, extent=(0, layout.width, layout.height, 0), interpolation="nearest", aspect="auto")
    mark_chips(axes, layout)


def mark_chips(axes: Axes, layout: Layout) -> None:
    """Thin lines between the chips of an image."""
    for chip in range(1, layout.chip_columns):
        axes.axvline(chip * layout.width / layout.chip_columns, color=MUTED, linewidth=0.7)
    for chip in range(1, layout.chip_rows):
        axes.axhline(chip * layout.height / layout.chip_rows, color=MUTED, linewidth=0.7)


def box(
    axes: Axes, left: float, top: float, width: float, height: float, colour: str, alpha: float = 1
) -> None:
    """A rectangle without an edge."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((left, top), width, height, facecolor=colour, alpha=alpha, linewidth=0))


def number(axes: Axes, x: float, y: float, text: str, colour: str, room: float) -> None:
    """A text in the middle of a place, if there is room."""
    if text and room >= SMALLEST_TEXT:
        axes.text(x, y, text, ha="center", va="center", fontsize=min(9.5, room * 0.62), color=colour)
