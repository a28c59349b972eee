"""A spike raster: a mark for each spike, layer above layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from spikeloom.runtime.log.journal import About, SampleRecord
from spikeloom.runtime.report.plots.figure import ACCENT, MUTED, RULE, draw, panel, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 760, 214, 14, 10, 34
MOST_MARKS = 20_000
"""Spikes of a layer that are drawn one by one; more of them become an image."""
LOWEST, HIGHEST = 26, 110
"""Pixels of a layer's band, by the number of its neurons."""


def plot_raster(about: About, record: SampleRecord) -> str:
    """Every spike of one sample; a band for each layer, a row for each neuron, time to the right.

    A mark is as long as its time step, and as high as a neuron, but at least half a pixel.
    """
    bands = _bands(about.layers)
    height = TOP + BOTTOM + sum(bands.values())

    def paint(figure: Figure) -> None:
        axes = panel(figure, LEFT, TOP, RIGHT, BOTTOM)
        top, ticks = 0.0, []
        for name, band in bands.items():
            train = record.layers[name].train
            assert train is not None
            row = band * 0.9 / about.layers[name]
            ys = top + band * 0.05 + (train.neurons + 0.5) * row
            begin, end = train.steps + 0.04, train.steps + 0.96
            marks = axes.hlines(ys, begin, end, color=ACCENT, linewidth=max(row, 0.5), alpha=0.8)
            marks.set_rasterized(len(ys) > MOST_MARKS)
            axes.axhline(top, color=RULE, linewidth=1)
            ticks.append((top + band / 2, f"{shortened(name)}  {about.layers[name]:,}"))
            top += band
        steps = len(record.evidence)
        axes.set_xlim(0, steps)
        axes.set_ylim(top, 0)
        axes.set_yticks([place for place, _ in ticks], [text for _, text in ticks], fontsize=9.5)
        shown = np.unique(np.linspace(1, steps, min(steps, 12)).round().astype(int))
        axes.set_xticks(shown - 0.5, [str(step) for step in shown], fontsize=9.5, color=MUTED)
        axes.set_xlabel("time step", fontsize=9.5, labelpad=2)

    return draw("raster", f"Every spike of {record.name}", WIDTH, height, paint)


def _bands(layers: Mapping[str, int]) -> dict[str, float]:
    largest = max(layers.values())
    return {name: LOWEST + (HIGHEST - LOWEST) * (size / largest) ** 0.5 for name, size in layers.items()}
