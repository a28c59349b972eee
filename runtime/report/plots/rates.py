"""Firing rates by layer, and by layer and step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from spikeloom.runtime.report.layers import Layer
from spikeloom.runtime.report.plots.figure import (
    ACCENT,
    HALF_WIDTH,
    INK,
    MUTED,
    RULE,
    draw,
    panel,
    shortened,
    tinted,
)
from spikeloom.runtime.report.units import THIN, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

ROW, TOP, BOTTOM, LEFT = 21, 8, 30, 152
MOST_NUMBERS = 8


def plot_rates(layers: Sequence[Layer]) -> str:
    """Bars of the firing rate of each layer; a line marks the rate of the trained network."""

    def paint(figure: Figure) -> None:
        axes = panel(figure, LEFT, TOP, 44, BOTTOM)
        rows = np.arange(len(layers))
        rates = [layer.rate for layer in layers]
        axes.barh(rows, rates, 0.58, color=ACCENT)
        for row, layer in enumerate(layers):
            if layer.trained_rate is not None:
                axes.plot([layer.trained_rate] * 2, [row - 0.4, row + 0.4], color=INK, linewidth=1.6)
            right = max(layer.rate, layer.trained_rate or 0)
            axes.annotate(
                percent(layer.rate),
                (right, row),
                (5, 0),
                textcoords="offset points",
                va="center",
                fontsize=9.5,
            )
        axes.set_xlim(0, max([*rates, *(layer.trained_rate or 0 for layer in layers), 1e-9]) * 1.02)
        axes.xaxis.set_major_locator(_few())
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}{THIN}%")
        axes.grid(axis="x")
        axes.spines["bottom"].set_visible(False)
        _name_rows(axes, layers)

    return draw("rates", "Firing rate of each layer", HALF_WIDTH, _height(layers), paint)


def plot_step_rates(layers: Sequence[Layer]) -> str:
    """The firing rate of each layer at each step, as a shade and, where there is room, a number."""

    def paint(figure: Figure) -> None:
        axes = panel(figure, LEFT, TOP, 6, BOTTOM)
        rates = np.array([layer.step_rates for layer in layers])
        steps = rates.shape[1]
        shade = 0.85 * rates / max(rates.max(), 1e-9)
        axes.imshow(
            tinted(shade), aspect="auto", interpolation="none", extent=(0, steps, len(layers) - 0.5, -0.5)
        )
        for row in np.arange(len(layers) - 1) + 0.5:
            axes.axhline(row, color=RULE, linewidth=1)
        if steps <= MOST_NUMBERS:
            for row, step in np.ndindex(rates.shape):
                text = f"{100 * rates[row, step]:.1f}"
                axes.text(step + 0.5, row, text, ha="center", va="center", fontsize=9.5)
        shown = np.unique(np.linspace(1, steps, min(steps, MOST_NUMBERS)).round().astype(int))
        axes.set_xticks(shown - 0.5, [str(step) for step in shown])
        axes.set_xlabel("time step; firing rates in %", fontsize=9.5, labelpad=2)
        axes.spines["bottom"].set_visible(False)
        _name_rows(axes, layers)

    return draw(
        "step-rates", "Firing rate of each layer at each time step", HALF_WIDTH, _height(layers), paint
    )


def _height(layers: Sequence[Layer]) -> float:
    return TOP + BOTTOM + ROW * len(layers)


def _name_rows(axes: Axes, layers: Sequence[Layer]) -> None:
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.set_yticks(range(len(layers)), [shortened(layer.name) for layer in layers], fontsize=9.5)
    axes.tick_params(axis="x", labelsize=9.5, labelcolor=MUTED)


def _few() -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])
