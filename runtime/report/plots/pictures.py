"""Frames and spikes of one recording as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.report.plots.figure import BLUE, HALF_WIDTH, ORANGE, draw, panel, tinted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Image = NDArray[np.float64]

MOST_FRAMES = 10
MOST_LAYERS = 12
MOST_ROWS = 256
ON, OFF = BLUE, ORANGE
FAINTEST = 0.35
"""Opacity of a pixel of value one, where pixels hold counts."""


def steps_shown(steps: int) -> list[int]:
    """The steps to show: all of them, or some spread evenly.

    >>> steps_shown(3), steps_shown(100)
    ([0, 1, 2], [0, 11, 22, 33, 44, 55, 66, 77, 88, 99])
    """
    return spread(steps, MOST_FRAMES)


def spread(count: int, most: int) -> list[int]:
    """At most so many of 0..count-1, spread evenly, the first and the last among them."""
    chosen = np.linspace(0, count - 1, min(count, most)).round().astype(int)
    return [int(index) for index in np.unique(chosen)]


def plot_frame(frame: NDArray[np.uint8], highest: int, polarity: Sequence[str], name: str) -> str:
    """One frame: ON and OFF events in two colours, or the mean over channels in one.

    Args:
        frame: [2, height, width], or an array of any other shape.
        highest: the largest value of the recording.
        polarity: what the two channels of events are; empty for other arrays.
        name: of the plot.
    """
    scale = max(highest, 1)
    if frame.ndim == 3 and len(frame) == len(polarity) == 2:
        image = _over(
            *(
                _shaded(channel / scale, ON if word == "on" else OFF)
                for channel, word in zip(frame, polarity, strict=True)
            )
        )
    else:
        image = tinted(flattened(frame.astype(np.float64)) / scale)
    return _picture([image], name, "Input frame", 1)


def plot_layer(spikes: NDArray[np.uint8], name: str) -> str:
    """Spikes of one layer [steps, ...]: a picture for each step, or one raster where steps are many.

    A picture shows the last two axes and the mean over those before them. A raster has a column
    for each step and a row for each neuron, at most 256 of them, spread evenly.
    """
    fired = (spikes != 0).astype(np.float64)
    if len(fired) > MOST_FRAMES:
        flat = fired.reshape(len(fired), -1)
        return _picture([tinted(flat[:, spread(flat.shape[1], MOST_ROWS)].T)], name, "Spike raster", 3.2)
    images = [flattened(step) for step in fired]
    highest = max(max(image.max() for image in images), 1e-9)
    return _picture([tinted(image / highest) for image in images], name, "Spikes at each step", 1)


def flattened(values: Image) -> Image:
    """An array as a picture: the mean over all axes but the last two; a vector as one row."""
    if values.ndim < 2:
        return values.reshape(1, -1)
    return np.asarray(values.reshape(-1, *values.shape[-2:]).mean(0))


def chosen_layers(spikes: Mapping[str, Any]) -> list[str]:
    """The layers to show: all of them, or some spread evenly."""
    names = list(spikes)
    return [names[index] for index in spread(len(names), MOST_LAYERS)]


def _shaded(channel: Image, colour: str) -> Image:
    return tinted(np.where(channel > 0, FAINTEST + (1 - FAINTEST) * channel, 0), colour)


def _over(below: Image, above: Image) -> Image:
    """One picture over another; where both have something they are mixed in equal parts."""
    both = (below[..., 3] > 0) & (above[..., 3] > 0)
    image = np.where(above[..., 3:] > 0, above, below)
    image[both] = (below[both] + above[both]) / 2
    return image


def _picture(images: Sequence[Image], name: str, about: str, aspect: float) -> str:
    """Pictures in a row, each on a ground of its own, ``aspect`` times as wide as high."""
    gap = 6 if len(images) > 1 else 0
    width = (HALF_WIDTH - gap * (len(images) - 1)) / len(images)
    height = width / aspect

    def paint(figure: Figure) -> None:
        axes = panel(figure, 0, 0, 0, 0)
        axes.set_axis_off()
        for index, image in enumerate(images):
            left = index * (width + gap)
            axes.imshow(image, interpolation="none", extent=(left, left + width, height, 0))
        axes.set(xlim=(0, HALF_WIDTH), ylim=(height, 0), aspect="auto")

    return draw(name, about, HALF_WIDTH, height, paint)
