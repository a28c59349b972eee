"""What gathers the events of a frame, whatever the frame is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.events.stream import Events


class Accumulator(Protocol):
    """Makes one frame after the other.

    However the events of a frame are cut into chunks, the frame is the same.
    """

    def add(self, events: Events, places: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Take events [n] of the frame that is begun, on its pixels.

        Args:
            events: in their order.
            places: of each event in the whole recording, from 0.
            offsets: how far each lies into the frame, from 0 to the frame's length.
        """

    def take(self) -> tuple[NDArray[np.uint8], int]:
        """The frame that is begun, and how many events its bytes could not hold; the next one is begun."""

    def clear(self) -> None:
        """Forget all events."""

    def arrays(self) -> dict[str, Array]:
        """All that the next frames depend on: copies."""

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on from the arrays of another one that makes the same frames.

        Raises:
            ValueError: they have other shapes.
        """


def cells_of(events: Events, polarity: Sequence[str], height: int, width: int) -> NDArray[np.int64]:
    """The index of each event's pixel in the flattened frame [channels, height, width]."""
    channel = 0
    if len(polarity) == 2:
        channel = np.array([polarity.index("off"), polarity.index("on")], np.int64)[events["p"]]
    cells: NDArray[np.int64] = (channel * height + events["y"].astype(np.int64)) * width + events["x"]
    return cells


def refill(own: Array, given: Array) -> None:
    """Put an array in the place of another.

    Raises:
        ValueError: it has another shape.
    """
    if own.shape != given.shape:
        raise ValueError(f"wanted an array {own.shape}, got {given.shape}")
    own[...] = given
