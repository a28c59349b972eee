"""What flows through the event side of the runtime: events, chunks of them, and what was dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

EVENT = np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
"""One event: time ``t`` in microseconds, column ``x``, row ``y``, polarity ``p`` (0 off, 1 on)."""

Events: TypeAlias = NDArray[np.void]
"""An array of shape [n] and dtype :data:`EVENT`."""

MAX_SIDE = 65535
"""Widest sensor: coordinate 65535 lies outside every sensor, so it can stand for «not a coordinate»."""


@dataclass(frozen=True)
class Geometry:
    """The sensor: ``width`` × ``height`` pixels, each with ``polarities`` kinds of event.

    >>> Geometry(34, 34)
    Geometry(width=34, height=34, polarities=2)
    """

    width: int
    height: int
    polarities: int = 2

    def __post_init__(self) -> None:
        if not (0 < self.width <= MAX_SIDE and 0 < self.height <= MAX_SIDE and 0 < self.polarities <= 255):
            raise ValueError(f"no sensor has this geometry: {self}")

    def contains(self, events: Events) -> NDArray[np.bool_]:
        """Which of the events [n] lie on the sensor, as booleans [n]."""
        inside: NDArray[np.bool_] = events["x"] < self.width
        inside &= events["y"] < self.height
        inside &= events["p"] < self.polarities
        return inside

    def __str__(self) -> str:
        return f"{self.width}×{self.height} pixels, {self.polarities} polarities"


@dataclass(frozen=True)
class DropReport:
    """What of a recording did not reach the network, in events (``left_over_bytes``: bytes).

    ``outside``, ``backwards`` and ``left_over_bytes`` are faults of the recording. ``late``, ``tail`` and
    ``saturated`` follow from the frame recipe: events whose frame was already finished, events after
    the last frame, and events that a pixel's counter could no longer count.

    Reports add up, and one that counts nothing is false.

    >>> DropReport(outside=2) + DropReport(outside=1, tail=5)
    DropReport(outside=3, backwards=0, left_over_bytes=0, late=0, tail=5, saturated=0)
    >>> bool(DropReport()), DropReport(tail=5).damaged, DropReport(backwards=1).damaged
    (False, False, True)
    """

    outside: int = 0
    backwards: int = 0
    left_over_bytes: int = 0
    late: int = 0
    tail: int = 0
    saturated: int = 0

    @property
    def damaged(self) -> bool:
        """Whether the recording itself was faulty."""
        return bool(self.outside or self.backwards or self.left_over_bytes)

    def __add__(self, other: DropReport) -> DropReport:
        return DropReport(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in fields(self))

    def to_json(self) -> dict[str, int]:
        """The counts as a JSON object with the attributes as keys."""
        return asdict(self)


@dataclass(frozen=True)
class Chunk:
    """Consecutive events of a stream, as a decoder found them: not checked against any sensor.

    Attributes:
        events: the events [n] of dtype :data:`EVENT`.
        offset: the byte of the stream where the first of them begins; None where there are no bytes.
        left_over_bytes: bytes at the end that are no whole record; only in the last chunk of a stream.
    """

    events: Events
    offset: int | None = None
    left_over_bytes: int = 0


Decoder: TypeAlias = Callable[[BinaryIO, int], Iterator[Chunk]]
"""``decode(file, chunk_events)``: the chunks of a stream, each of at most ``chunk_events`` events, in
memory that does not depend on the length of the stream. ``file.read(n)`` gives fewer than n bytes only
at the end. A decoder invents nothing: bytes that are no event are counted in ``left_over_bytes``."""


@dataclass(frozen=True)
class Format:
    """A reader: how one kind of event file is named and decoded.

    Attributes:
        name: the format's name in messages and in the registry.
        suffixes: the file suffixes that it claims, with the dot, in lower case.
        decode: the decoder.
        record_bytes: the size of a record where all are equally long, else 0.
    """

    name: str
    suffixes: tuple[str, ...]
    decode: Decoder
    record_bytes: int = 0
