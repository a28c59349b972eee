"""A recording as a picture: where its events are, and when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.events.stream import Events, Geometry
from spikeloom.runtime.report.plots.figure import MUTED, draw, panel
from spikeloom.runtime.report.plots.pictures import OFF, ON

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

WIDTH, RATE_HEIGHT, EDGE = 720, 120, 12
BINS = 256
_BRIGHTEST = 0.99


@dataclass
class EventPicture:
    """Counts of a recording: by pixel, and by time; memory does not grow with it.

    Attributes:
        counts: [2, height, width], OFF and ON.
        rates: [2, BINS], events in each of as many equal times; the times grow as the recording does.
        first_us: time of the first event.
        bin_us: how long one of them is.
    """

    counts: NDArray[np.int64]
    rates: NDArray[np.int64]
    first_us: int | None = None
    bin_us: int = 64

    def add(self, events: Events) -> None:
        """Count events [n] in order of time."""
        if not len(events):
            return
        if self.first_us is None:
            self.first_us = int(events["t"][0])
        while int(events["t"][-1]) - self.first_us >= BINS * self.bin_us:
            halved = self.rates.reshape(2, BINS // 2, 2).sum(2)
            self.rates = np.concatenate([halved, np.zeros_like(halved)], 1)
            self.bin_us *= 2
        on = (events["p"] == 1).astype(np.int64)
        np.add.at(self.counts, (on, events["y"], events["x"]), 1)
        np.add.at(self.rates, (on, (events["t"] - self.first_us) // self.bin_us), 1)


def picture_of(chunks: Iterable[Events], sensor: Geometry) -> EventPicture:
    """The picture of a recording.

    >>> from spikeloom.runtime.events.stream import EVENT
    >>> events = np.array([(0, 1, 0, 1), (100_000, 1, 0, 0)], EVENT)
    >>> picture = picture_of([events], Geometry(2, 1))
    >>> picture.counts.tolist(), picture.bin_us
    ([[[0, 1]], [[0, 1]]], 512)
    """
    shape = (2, sensor.height, sensor.width)
    picture = EventPicture(np.zeros(shape, np.int64), np.zeros((2, BINS), np.int64))
    for events in chunks:
        picture.add(events)
    return picture


def plot_events(picture: EventPicture) -> str:
    """All events of a recording on the sensor, the more opaque the more there are; below, events a second."""
    _, height, width = picture.counts.shape
    tall = round((WIDTH - 2 * EDGE) * height / width)

    def paint(figure: Figure) -> None:
        axes = panel(figure, EDGE, EDGE, EDGE, RATE_HEIGHT + EDGE)
        axes.set_axis_off()
        axes.imshow(_mixed(picture.counts), interpolation="none", aspect="auto")
        rates = panel(figure, 70, EDGE + tall + 18, EDGE, 36)
        used = np.flatnonzero(picture.rates.any(0)).max(initial=0) + 1
        seconds = np.arange(used + 1) * picture.bin_us / 1e6
        for channel, colour, name in ((1, ON, "ON"), (0, OFF, "OFF")):
            values = picture.rates[channel, :used] * (1e6 / picture.bin_us)
            rates.stairs(values, seconds, color=colour, linewidth=1.4, label=name)
        rates.set_xlim(0, seconds[-1])
        rates.set_ylim(0, None)
        rates.grid(axis="y")
        rates.yaxis.set_major_locator(_few())
        rates.yaxis.set_major_formatter(lambda value, _: _short(value))
        rates.tick_params(labelsize=9.5, labelcolor=MUTED)
        rates.set_xlabel("seconds", fontsize=9.5, labelpad=2)
        rates.set_ylabel("events/s", fontsize=9.5)
        rates.legend(
            frameon=False, fontsize=9.5, labelcolor="linecolor", handlelength=0,
            loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, borderpad=0.1, ncols=2,
        )  # fmt: skip

    return draw("events", "The events of the recording", WIDTH, tall + RATE_HEIGHT + 2 * EDGE, paint)


def _mixed(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts [2, H, W] as RGBA: the colour by the share of ON, the opacity by the number."""
    from matplotlib.colors import to_rgb

    total = counts.sum(0)
    share = np.divide(counts[1], total, out=np.zeros(total.shape), where=total > 0)[..., None]
    full = max(float(np.quantile(total[total > 0], _BRIGHTEST)), 1.0) if total.any() else 1.0
    image = np.empty((*total.shape, 4))
    image[..., :3] = share * np.array(to_rgb(ON)) + (1 - share) * np.array(to_rgb(OFF))
    image[..., 3] = np.clip(total / full, 0, 1) ** 0.6
    return image


def _short(value: float) -> str:
    """A number in few letters.

    >>> _short(0), _short(1500), _short(2_000_000)
    ('0', '1.5 k', '2 M')
    """
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _few() -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3, steps=[1, 2, 5, 10])
