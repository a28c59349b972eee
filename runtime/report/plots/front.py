"""Accuracy against latency: what each threshold of an early exit gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spikeloom.runtime.early_exit.calibrate import FrontPoint, Outcome
from spikeloom.runtime.report.plots.figure import ACCENT, INK, MUTED, ORANGE, draw, panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 560, 300


def plot_front(calibration: Sequence[FrontPoint], held_out: Sequence[FrontPoint], chosen: Outcome) -> str:
    """The front on the recordings that the threshold comes from, and on others; the choice, on the others."""

    def paint(figure: Figure) -> None:
        axes = panel(figure, 58, 14, 16, 42)
        for points, colour, style, name in (
            (calibration, MUTED, "--", "calibration recordings"),
            (held_out, ACCENT, "-", "held-out recordings"),
        ):
            xs, ys = ([getattr(p.outcome, key) for p in points] for key in ("steps", "accuracy"))
            axes.plot(xs, ys, style, color=colour, linewidth=1.8, label=name, marker="o", markersize=2.6)
        label = f"chosen: {100 * chosen.accuracy:.1f} % after {chosen.steps:.2f} steps"
        axes.plot([chosen.steps], [chosen.accuracy], "D", color=ORANGE, markersize=7, label=label, zorder=4)
        axes.grid(axis="both")
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axes.tick_params(labelsize=9.5, labelcolor=MUTED)
        axes.set_xlabel("mean time steps to an answer", fontsize=9.5)
        axes.set_ylabel("accuracy", fontsize=9.5)
        axes.legend(frameon=False, fontsize=9.5, loc="lower right", labelcolor=INK)

    return draw("front", "Accuracy against latency of the early exit", WIDTH, HEIGHT, paint)
