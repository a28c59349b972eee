"""Evidence for each class over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.report.collect import Recording
from spikeloom.runtime.report.plots.figure import ACCENT, HALF_WIDTH, MUTED, ORANGE, draw, panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEIGHT = 225
CLOSEST = 13
"""Pixels between two labels at the ends of lines."""


def plot_evidence(recording: Recording) -> str:
    """A line for each class; the label and the prediction, if it is another, stand out."""

    def paint(figure: Figure) -> None:
        axes = panel(figure, 34, 10, 62, 34)
        evidence = recording.evidence
        steps = np.arange(1, len(evidence) + 1)
        marked = _marked(recording)
        for number in range(evidence.shape[1]):
            colour, width = marked.get(number, (MUTED, 0.8))
            front = 3 if number in marked else 2
            axes.plot(
                steps, evidence[:, number], color=colour, linewidth=width, zorder=front,
                marker="o", markersize=2.5 * width, alpha=1 if number in marked else 0.5,
            )  # fmt: skip
        for number, height in _label_heights(evidence, list(marked)):
            text = f"class {number}"
            axes.annotate(
                text, (steps[-1], height), (8, 0), textcoords="offset points", va="center",
                color=marked[number][0], weight="bold", fontsize=10,
            )  # fmt: skip
        axes.grid(axis="y")
        axes.set_xlim(steps[0] - 0.1, steps[-1] + 0.05 * len(steps))
        axes.set_xticks(np.unique(np.linspace(1, len(steps), min(len(steps), 8)).round()))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
        axes.set_xlabel("time step", fontsize=9.5)
        axes.tick_params(labelsize=9.5, labelcolor=MUTED)

    return draw("evidence", "Evidence for each class after each time step", HALF_WIDTH, HEIGHT, paint)


def _marked(recording: Recording) -> dict[int, tuple[str, float]]:
    marked = {
        recording.prediction: (ACCENT if recording.label in (None, recording.prediction) else ORANGE, 2.2)
    }
    if recording.label is not None and recording.label < recording.evidence.shape[1]:
        marked[recording.label] = (ACCENT, 2.2)
    return marked


def _label_heights(evidence: NDArray[np.float64], numbers: list[int]) -> list[tuple[int, float]]:
    """Where the labels stand: at the ends of their lines, moved apart where these are close."""
    last, span = evidence[-1], max(float(np.ptp(evidence)), 1e-9)
    least = span * CLOSEST / (HEIGHT - 60)
    heights: list[tuple[int, float]] = []
    for number in sorted(numbers, key=lambda n: float(last[n])):
        height = float(last[number])
        heights.append((number, max(height, heights[-1][1] + least) if heights else height))
    return heights
