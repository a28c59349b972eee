"""What flows through the event side of the runtime: events, chunks of them, and what was dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikeloom.errors import counted

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
        return f"{self.width}×{self.height} pixels, {counted(self.polarities, 'polarity', 'polarities')}"


@dataclass(frozen=True)
class DropReport:
    """What of a recording did not reach the network, in events (``left_over_bytes``: bytes).

    ``outside``, ``backwards``, ``jumps``, ``unknown`` and ``left_over_bytes`` are faults of the recording:
    events outside the sensor, events earlier than one before them, events implausibly long after the one
    before them, records of no kind that the format knows, and bytes that no event was made of. ``unplaced``
    are events that a file begins with before it says their time or row, or marks invalid itself. ``cropped``,
    ``late``, ``tail`` and ``saturated`` follow from the frame recipe: events outside its crop, events whose
    frame was already finished, events after the last frame, and events that a pixel's byte could not hold.

    Reports add up, and one that counts nothing is false.

    >>> (DropReport(outside=2) + DropReport(outside=1, tail=5)).counts()
    {'outside': 3, 'tail': 5}
    >>> bool(DropReport()), DropReport(tail=5).damaged, DropReport(backwards=1).damaged
    (False, False, True)
    """

    outside: int = 0
    backwards: int = 0
    jumps: int = 0
    unknown: int = 0
    left_over_bytes: int = 0
    unplaced: int = 0
    cropped: int = 0
    late: int = 0
    tail: int = 0
    saturated: int = 0

    @property
    def damaged(self) -> bool:
        """Whether the recording itself was faulty."""
        return bool(self.outside or self.backwards or self.jumps or self.unknown or self.left_over_bytes)

    def __add__(self, other: DropReport) -> DropReport:
        return DropReport(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in fields(self))

    def counts(self) -> dict[str, int]:
        """Only the counts that are not zero."""
        return {name: count for name, count in asdict(self).items() if count}

    def to_json(self) -> dict[str, int]:
        """The counts as a JSON object with the attributes as keys."""
        return asdict(self)


@dataclass(frozen=True)
class Chunk:
    """Consecutive events of a stream, as a decoder found them: not checked against any sensor.

    Attributes:
        events: the events [n] of dtype :data:`EVENT`.
        offset: the byte of the stream where the first of them begins, or the block that holds it; None
            where there are no bytes.
        left_over_bytes: bytes that no event could be made of: at the end those of no whole record, and
            all that follows a place where the structure of the file is lost.
        unplaced: events that the file gives no time or row for, or marks invalid.
        unknown: records of no kind that the format knows.
    """

    events: Events
    offset: int | None = None
    left_over_bytes: int = 0
    unplaced: int = 0
    unknown: int = 0


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its first event.

    Attributes:
        geometry: the sensor, where the file names it.
        facts: other statements worth showing, by their names.
    """

    geometry: Geometry | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


class Malformed(Exception):  # noqa: N818 - no error of its own: whoever knows the file makes one of it
    """A file's header or container cannot be understood, so that no event of it can be trusted.

    Raised by readers, which know no path; :class:`~spikeloom.runtime.events.formats.EventFile` makes an
    InputError SL0108 of it.
    """

    def __init__(self, what: str, wanted: str = "", got: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what, self.wanted, self.got, self.remedy = what, wanted, got, remedy


class Source(Protocol):
    """Where a decoder reads its bytes: a file, a decompressed file, or a link."""

    def read(self, size: int, /) -> bytes:
        """The next ``size`` bytes; fewer only at the end."""
        ...


Decoder: TypeAlias = Callable[[Source, int], Iterator[Chunk]]
"""``decode(source, chunk_events)``: the chunks of a stream, each of at most ``chunk_events`` events, in
memory that does not depend on the length of the stream. A decoder invents nothing: bytes that are no
event are counted in ``left_over_bytes``, ``unplaced`` or ``unknown``. It raises :class:`Malformed` where
the header is not the format's."""


def no_header(source: Source) -> Header:
    """The header of formats that have none."""
    return Header()


def by_chunks(chunk: Chunk, chunk_events: int) -> Iterator[Chunk]:
    """A block of events cut into chunks of at most ``chunk_events``; its counts go with the first."""
    if len(chunk.events) <= chunk_events:
        yield chunk
        return
    counts = chunk.left_over_bytes, chunk.unplaced, chunk.unknown
    for start in range(0, len(chunk.events), chunk_events):
        yield Chunk(chunk.events[start : start + chunk_events], chunk.offset, *counts)
        counts = 0, 0, 0


@dataclass(frozen=True)
class Item:
    """One of several recordings in a file: its name there, and its class if the file says it."""

    name: str
    label: int | None = None


ItemDecoder: TypeAlias = Callable[[Source, int, int], Iterator[Chunk]]
"""``decode(source, index, chunk_events)``: as :data:`Decoder`, of one of several recordings in a file."""


def no_items(source: Source) -> list[Item]:
    """The items of files that hold a single recording."""
    return []


@dataclass(frozen=True)
class Format:
    """A reader: how one kind of event file is named, recognised and decoded.

    Attributes:
        name: the format's name in messages and in the registry.
        suffixes: the file suffixes that it claims, with the dot, in lower case.
        decode: the decoder.
        record_bytes: the size of a record where all are equally long and no header comes first, else 0.
        title: the format's name in full.
        matches: whether the first bytes of a file (up to 4,096) are of this format; asked where several
            formats share a suffix.
        header: reads the header and leaves the source at the first event.
        widest: the largest sensor that the format can name.
        seeks: whether the source must be a file that can be searched, hence not compressed as a whole.
        items: the recordings of a file that holds several; none where it holds a single one.
        decode_item: decodes one of them.
    """

    name: str
    suffixes: tuple[str, ...]
    decode: Decoder
    record_bytes: int = 0
    title: str = ""
    matches: Callable[[bytes], bool] = lambda head: True
    header: Callable[[Source], Header] = no_header
    widest: Geometry = Geometry(MAX_SIDE, MAX_SIDE)
    seeks: bool = False
    items: Callable[[Source], list[Item]] = no_items
    decode_item: ItemDecoder | None = None
