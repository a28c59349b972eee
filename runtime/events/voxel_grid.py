"""The voxel grid: events shared out between the two nearest of B points of time, with their polarity.

Source: Zhu et al., «Unsupervised Event-based Learning of Optical Flow, Depth, and Egomotion», CVPR 2019; the
arithmetic and its order are those of tonic 1.7's `to_voxel_grid_numpy`. An event at time t goes to

    τ = B · (t - t₀) / (t₁ - t₀)

and adds ±(1 - frac τ) to bin ⌊τ⌋ and ±(frac τ) to the next, where there are such bins. It needs the time t₁
of the last event: it cannot be streamed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from spikeloom.errors import InputError
from spikeloom.runtime.events.framer import extent_of
from spikeloom.runtime.events.stream import Events, Geometry


def voxel_grid(recording: Iterable[Events], geometry: Geometry, bins: int) -> NDArray[np.float64]:
    """The voxel grid [bins, 1, height, width] of a recording.

    The recording is read three times, a chunk at a time: give an
    :class:`~spikeloom.runtime.events.formats.EventFile` or a list, no generator. The result does not depend
    on how it is cut into chunks.

    Raises:
        InputError: SL0102, there are no events, or all are at one time.

    >>> from spikeloom.runtime.events.stream import EVENT
    >>> events = np.array([(0, 0, 0, 1), (10, 0, 0, 0), (40, 0, 0, 1)], EVENT)
    >>> voxel_grid([events], Geometry(1, 1), bins=2).ravel().tolist()
    [0.5, -0.5]
    """
    extent = extent_of(recording)
    if extent.first_us == extent.last_us:
        raise InputError.of(
            "SL0102", "voxel grid", "the recording has no duration", got=f"{extent.count} events"
        )
    grid = np.zeros((bins, 1, geometry.height, geometry.width))
    cells = grid.reshape(-1)
    for later in (0, 1):  # all earlier shares before all later ones: sums of floats depend on their order
        for events in recording:
            tau = bins * (events["t"].astype(float) - extent.first_us) / (extent.last_us - extent.first_us)
            place = tau.astype(np.int64)
            rest = tau - place
            share = np.where(events["p"] == 0, -1, 1) * (rest if later else 1.0 - rest)
            place += later
            inside = place < bins
            pixels = events["x"].astype(np.int64) + events["y"].astype(np.int64) * geometry.width
            np.add.at(cells, (pixels + place * geometry.width * geometry.height)[inside], share[inside])
    return grid
