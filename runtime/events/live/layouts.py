"""What datagrams of events look like.

- ``t64``: faery's default ``t64_x16_y16_on8``: 13 bytes an event, time in microseconds (64 bits), x, y (16
  each) and on (8).
- ``t32``: faery's ``t32_x16_y15_on1``: 8 bytes, time (32 bits, wraps), x (16), y shifted left by one, on in
  the lowest bit (16).
- ``spif``: the words of 32 bits that SPIF, SpiNNaker's interface, and AEStream exchange: bit 31 says that no
  time follows, x in bits 30 to 16, polarity in bit 15, y in bits 14 to 0; else a word of time in
  microseconds follows, which wraps. Events without a time get that of their arrival.
- ``numbered``: of our own, for a sender that wants its losses known: «SLEV», a zero word, the number of the
  first event since the sender began (64 bits), then events as in ``t64``.

All have their low bytes first. Sources: faery 0.7.1 (``udp_encoder``), AEStream (``dvs_to_udp``).
"""

from __future__ import annotations

import struct
import time
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from spikeloom.errors import InputError
from spikeloom.runtime.events.clock import WrappingClock
from spikeloom.runtime.events.stream import EVENT, Events

RECORD_64 = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "u1")])
RECORD_32 = np.dtype([("t", "<u4"), ("x", "<u2"), ("y_on", "<u2")])
NUMBERED_HEAD = struct.Struct("<4sIQ")
NUMBERED_MAGIC = b"SLEV"
_NO_TIME = 1 << 31
_LARGEST_TIME = 2**62


class Datagram(NamedTuple):
    """What a datagram holds: events, bytes that are none, and, if they are numbered, the first's number."""

    events: Events
    malformed_bytes: int = 0
    first: int | None = None


class Layout(ABC):
    """Decodes the datagrams of one sender, in the order in which they arrive."""

    @abstractmethod
    def decode(self, data: bytes) -> Datagram:
        """The events of a datagram."""


class T64(Layout):
    """faery's events of 13 bytes.

    >>> T64().decode(bytes([7, 0, 0, 0, 0, 0, 0, 0, 3, 0, 4, 0, 1, 99])).malformed_bytes
    1
    """

    def decode(self, data: bytes) -> Datagram:
        """The events; times over 2^62 are no times."""
        count = len(data) // RECORD_64.itemsize
        records = np.frombuffer(data, RECORD_64, count)
        good = records["t"] < _LARGEST_TIME
        records = records[good]
        events = np.empty(len(records), EVENT)
        events["t"] = records["t"]
        events["x"], events["y"] = records["x"], records["y"]
        events["p"] = records["on"] != 0
        bad = (count - len(records)) * RECORD_64.itemsize
        return Datagram(events, len(data) % RECORD_64.itemsize + bad)


class T32(Layout):
    """faery's events of 8 bytes."""

    def __init__(self) -> None:
        self._clock = WrappingClock()

    def decode(self, data: bytes) -> Datagram:
        """The events, their times unwrapped."""
        records = np.frombuffer(data, RECORD_32, len(data) // RECORD_32.itemsize)
        events = np.empty(len(records), EVENT)
        events["t"] = self._clock.unwrap(records["t"])
        events["x"], events["y"] = records["x"], records["y_on"] >> 1
        events["p"] = records["y_on"] & 1
        return Datagram(events, len(data) % RECORD_32.itemsize)


class Spif(Layout):
    """SPIF's words, with times or without.

    >>> [event] = Spif().decode(struct.pack("<II", 5 << 16 | 1 << 15 | 6, 1000)).events.tolist()
    >>> event
    (1000, 5, 6, 1)
    """

    def __init__(self) -> None:
        self._clock = WrappingClock()

    def decode(self, data: bytes) -> Datagram:
        """The events. A datagram is taken to be as its first word says: all with times, or all without."""
        words = np.frombuffer(data, "<u4", len(data) // 4)
        if not len(words):
            return Datagram(np.zeros(0, EVENT), len(data))
        timed = not words[0] & _NO_TIME
        spaced = words[: len(words) // 2 * 2 : 2] if timed else words
        fitting = ((spaced & _NO_TIME) == 0) == timed
        places = spaced[fitting]
        events = np.empty(len(places), EVENT)
        if timed:
            events["t"] = self._clock.unwrap(words[1 : 2 * len(spaced) : 2][fitting])
        else:
            events["t"] = time.monotonic_ns() // 1000
        events["x"], events["y"] = places >> 16 & 0x7FFF, places & 0x7FFF
        events["p"] = places >> 15 & 1
        return Datagram(events, len(data) - len(places) * (8 if timed else 4))


class Numbered(Layout):
    """Events that say their number.

    >>> layout = Numbered()
    >>> data = NUMBERED_HEAD.pack(NUMBERED_MAGIC, 0, 40) + bytes(13)
    >>> layout.decode(data).first, layout.decode(b"other").malformed_bytes
    (40, 5)
    """

    def decode(self, data: bytes) -> Datagram:
        """The events and the number of the first; a datagram of another kind or a cut one is none."""
        body = data[NUMBERED_HEAD.size :]
        if not data.startswith(NUMBERED_MAGIC) or len(data) < NUMBERED_HEAD.size:
            return Datagram(np.zeros(0, EVENT), len(data))
        found = T64().decode(body)
        if found.malformed_bytes:
            return Datagram(np.zeros(0, EVENT), len(data))
        return Datagram(found.events, 0, NUMBERED_HEAD.unpack_from(data)[2])


LAYOUTS: dict[str, type[Layout]] = {"t64": T64, "t32": T32, "spif": Spif, "numbered": Numbered}


def layout_of(name: str, where: str) -> Layout:
    """A fresh decoder of that layout.

    Raises:
        InputError: SL0901, there is none.
    """
    if name not in LAYOUTS:
        raise InputError.of("SL0901", where, "there is no such layout", wanted=" or ".join(LAYOUTS), got=name)
    return LAYOUTS[name]()


def encode(events: Events, layout: str, first: int = 0) -> bytes:
    """One datagram of events [n] in a layout; ``first`` is the number of the first.

    >>> made = np.array([(1000, 5, 6, 1)], EVENT)
    >>> [layout_of(name, "").decode(encode(made, name)).events.tolist() for name in ("t64", "t32", "spif")]
    [[(1000, 5, 6, 1)], [(1000, 5, 6, 1)], [(1000, 5, 6, 1)]]
    """
    if layout == "t32":
        short = np.empty(len(events), RECORD_32)
        short["t"] = events["t"] & 0xFFFFFFFF
        short["x"], short["y_on"] = events["x"], events["y"] << 1 | events["p"]
        return short.tobytes()
    if layout == "spif":
        words = np.empty((len(events), 2), "<u4")
        words[:, 0] = events["x"].astype(np.uint32) << 16 | events["p"].astype(np.uint32) << 15 | events["y"]
        words[:, 1] = events["t"] & 0xFFFFFFFF
        return words.tobytes()
    long = np.empty(len(events), RECORD_64)
    long["t"], long["x"], long["y"], long["on"] = (events[name] for name in "txyp")
    head = NUMBERED_HEAD.pack(NUMBERED_MAGIC, 0, first) if layout == "numbered" else b""
    return head + long.tobytes()
