"""Latency or energy of one mode: a stacked bar of its parts, and the band of each part."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

from spikeloom.runtime.report.plots.figure import HALF_WIDTH, INK, MUTED, PALETTE, RULE, draw, panel
from spikeloom.runtime.report.units import quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

ROW = 20
BAR = 64
LEFT, RIGHT = 96, 60
MOST_DECADES = 6


def plot_bands(name: str, band: Mapping[str, Any], unit: str) -> str:
    """A bar of the nominal parts on a linear axis with the band of the total, above each part's own band.

    The parts differ by orders of magnitude, so that their bands have a logarithmic axis; a bar on it
    would not be to scale, hence dots.

    Args:
        name: of the plot.
        band: low, nominal, high, and ``parts`` with the same of each.
        unit: of all numbers.
    """
    parts = band["parts"]
    height = BAR + ROW * len(parts) + 34

    def paint(figure: Figure) -> None:
        _paint_bar(panel(figure, LEFT, 6, RIGHT, height - 44), band, unit)
        _paint_parts(panel(figure, LEFT, BAR, RIGHT, 30), parts, unit)

    return draw(name, f"Parts of a quantity in {unit}, with their bands", HALF_WIDTH, height, paint)


def _paint_bar(axes: Axes, band: Mapping[str, Any], unit: str) -> None:
    left = 0.0
    for colour, part in zip(_colours(len(band["parts"])), band["parts"].values(), strict=True):
        axes.barh(0, part["nominal"], 0.62, left, color=colour)
        left += part["nominal"]
    axes.plot([band["low"], band["high"]], [0, 0], color=INK, linewidth=1.4)
    for end in ("low", "high"):
        axes.plot([band[end]] * 2, [-0.22, 0.22], color=INK, linewidth=1.4)
    axes.set(xlim=(0, band["high"] * 1.02 or 1), ylim=(-0.5, 0.5))
    axes.set_yticks([0], ["total"], weight="bold")
    axes.xaxis.set_major_locator(_linear())
    axes.xaxis.set_major_formatter(lambda value, _: quantity(value, unit) if value else "0")
    axes.tick_params(axis="x", labelsize=9, labelcolor=MUTED, pad=1)
    _note(axes, 0, quantity(band["nominal"], unit), bold=True)


def _paint_parts(axes: Axes, parts: Mapping[str, Mapping[str, float]], unit: str) -> None:
    present = [part for part in parts.values() if part["low"] > 0]
    for row, (colour, part) in enumerate(zip(_colours(len(parts)), parts.values(), strict=True)):
        if part["low"] > 0:
            ends = [part["low"], part["high"]]
            axes.plot(ends, [row, row], color=colour, linewidth=4, alpha=0.45, solid_capstyle="round")
            axes.plot(part["nominal"], row, "o", color=colour, markersize=7)
        _note(axes, row, quantity(part["nominal"], unit))
    axes.set_ylim(len(parts) - 0.5, -0.5)
    axes.set_yticks(range(len(parts)), [part.replace("_", " ") for part in parts])
    if present:
        _logarithmic(axes, min(p["low"] for p in present), max(p["high"] for p in present), unit)
    else:
        axes.set_xticks([])


def _logarithmic(axes: Axes, low: float, high: float, unit: str) -> None:
    first, last = floor(log10(low * 0.9)), ceil(log10(high * 1.1))
    stride = ceil((last - first) / MOST_DECADES)
    axes.set_xscale("log")
    axes.set_xlim(10.0**first, 10.0**last)
    axes.set_xticks([10.0**power for power in range(first, last + 1, stride)])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(lambda value, _: quantity(value, unit))
    axes.tick_params(axis="x", labelsize=9, labelcolor=MUTED)
    axes.grid(axis="x", color=RULE)
    axes.spines["bottom"].set_visible(False)


def _note(axes: Axes, row: float, text: str, bold: bool = False) -> None:
    """A number to the right of the axes, level with a row."""
    axes.annotate(
        text, (1, row), (RIGHT - 2, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
        ha="right", va="center", annotation_clip=False, weight="bold" if bold else "normal",
    )  # fmt: skip


def _colours(count: int) -> list[str]:
    return [PALETTE[index % len(PALETTE)] for index in range(count)]


def _linear() -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4, steps=[1, 2, 5, 10])
