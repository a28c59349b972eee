"""The links between routers, by load."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.report.cores import Placement
from spikeloom.runtime.report.plots.figure import BLUE, PANEL, draw, panel, tinted
from spikeloom.runtime.report.plots.mesh import Layout, box, is_fine, mark_chips, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDEST = 5.0
"""Pixels of the line of the busiest link."""

ROUTER = (0.5, 0.5, 0.5, 0.22)
"""A router, as a pixel."""

WAYS = {"east": (1, 0), "west": (-1, 0), "south": (0, 1), "north": (0, -1)}


def plot_links(placement: Placement) -> str:
    """Each link the darker and wider, the more messages it carries; two lines are its two directions.

    Shades go with the square root of the load: few links carry much, and the others should be seen. Where
    routers are many, they are points of an image, and between them the busier direction of a link.
    """
    layout = Layout(placement.grid, width_of(placement.grid))

    def paint(figure: Figure) -> None:
        axes = panel(figure, 0, 0, 0, 0)
        axes.set(xlim=(0, layout.width), ylim=(layout.height, 0))
        axes.set_axis_off()
        (_paint_image if is_fine(placement.grid) else _paint_lines)(axes, placement, layout)

    return draw("links", "Links between routers, by load", layout.width, layout.height, paint)


def _paint_lines(axes: Axes, placement: Placement, layout: Layout) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba

    size, offset = 0.36 * layout.router, min(WIDEST / 2 + 0.5, layout.pitch / 10)
    middle = layout.router / 2
    for column, row, _ in layout.places():
        left, top = layout.router_at(column, row)
        box(axes, left + middle - size / 2, top + middle - size / 2, size, size, PANEL)
    most = placement.links.busiest or 1.0
    segments, widths, colours = [], [], []
    for column, row, (right, down), load in sorted(_loaded(placement), key=lambda link: link[-1]):
        ends = [layout.router_at(column, row), layout.router_at(column + right, row + down)]
        aside = -offset * down, offset * right
        segments.append([(x + middle + aside[0], y + middle + aside[1]) for x, y in ends])
        widths.append(0.6 + (WIDEST - 0.6) * load / most)
        colours.append(to_rgba(BLUE, 0.1 + 0.9 * (load / most) ** 0.5))
    axes.add_collection(LineCollection(segments, linewidths=widths, colors=colours, capstyle="butt"))


def _loaded(placement: Placement) -> Iterator[tuple[int, int, tuple[int, int], float]]:
    """Column, row, direction and load of every link that carries something."""
    for way, step in WAYS.items():
        for row, lane in enumerate(getattr(placement.links, way)):
            for column, load in enumerate(lane):
                if load > 0:
                    yield column, row, step, load


def _paint_image(axes: Axes, placement: Placement, layout: Layout) -> None:
    east, west, south, north = (np.array(getattr(placement.links, way)) for way in WAYS)
    rows, columns = east.shape
    loads: NDArray[np.float64] = np.zeros((2 * rows - 1, 2 * columns - 1))
    loads[::2, 1::2] = np.maximum(east[:, :-1], west[:, 1:])
    loads[1::2, ::2] = np.maximum(south[:-1], north[1:])
    image = tinted((loads / (loads.max() or 1.0)) ** 0.5, BLUE)
    image[::2, ::2] = ROUTER
    edge = layout.width / columns / 4, layout.height / rows / 4
    extent = (edge[0], layout.width - edge[0], layout.height - edge[1], edge[1])
    axes.imshow(image, extent=extent, interpolation="nearest", aspect="auto")
    mark_chips(axes, layout)
