"""AEDAT 2.0 (``.aedat``) of jAER: big-endian pairs of address and time after lines «#...».

Source: the AEDAT 2.0 page of inivation's documentation and jAER's extractors. The line «# AEChip:» names the
sensor, whose class says what an address means; without it the sensor is a DVS128.
- DVS128: bit 0 is the polarity (0 = on), x counts from the right in bits 7-1, y is in 14-8; addresses with
  higher bits are synchronisation marks.
- DAVIS: bit 31 marks samples of pictures and of the motion sensor and bit 10 external events, which are no
  events here; y is in bits 30-22, x in 21-12, the polarity in bit 11 (1 = on).
Row 0 is the lowest of the picture. Times are microseconds of 32 bits and wrap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeloom.atomic import write_bytes
from spikeloom.errors import InputError
from spikeloom.runtime.events.clock import WrappingClock
from spikeloom.runtime.events.limits import require_writable_events
from spikeloom.runtime.events.source import ByteStream, stream_of
from spikeloom.runtime.events.stream import EVENT, Chunk, Events, Format, Geometry, Header, Malformed, Source
from spikeloom.runtime.events.text_header import read_lines

MAGIC = b"#!AER-DAT2.0"
RECORD = np.dtype([("address", ">u4"), ("t", ">u4")])
MAX_TIME_US = 2**31 - 1
Addresses = NDArray[np.uint32]


class _Sensor(NamedTuple):
    """How a sensor's addresses are read and written."""

    chip: str
    geometry: Geometry
    split: Callable[[Addresses, Events], NDArray[np.bool_]]
    join: Callable[[Events], Addresses]


def header(source: Source) -> Header:
    """The header of an AEDAT 2.0 file.

    Raises:
        Malformed: it is none, or names a sensor whose addresses are not known here.
    """
    sensor = _header(stream_of(source))
    return Header(sensor.geometry, {"chip": sensor.chip})


def decode(source: Source, chunk_events: int) -> Iterator[Chunk]:
    r"""The chunks of an AEDAT 2.0 file, each of at most ``chunk_events`` events.

    >>> import io
    >>> record = bytes([0, 0, 5, 0b11111100, 0, 0, 0, 9])
    >>> [chunk] = decode(io.BytesIO(b"#!AER-DAT2.0\r\n" + record), chunk_events=10)
    >>> chunk.events.tolist()
    [(9, 1, 5, 1)]
    """
    stream = stream_of(source)
    sensor = _header(stream)
    clock = WrappingClock()
    while data := stream.read(RECORD.itemsize * chunk_events):
        whole, left_over = divmod(len(data), RECORD.itemsize)
        records = np.frombuffer(data, RECORD, whole)
        events = np.empty(whole, EVENT)
        events["t"] = clock.unwrap(records["t"].astype(np.uint32))
        changes = sensor.split(records["address"].astype(np.uint32), events)
        yield Chunk(events[changes], stream.position - len(data), left_over)


def write_aedat2(path: Path | str, events: Events, geometry: Geometry) -> None:
    """Write events [n] of dtype EVENT, in order of time, as an AEDAT 2.0 recording, whole or not at all.

    The sensor must be one that jAER knows: 128×128 (DVS128), 240×180 (DAVIS240C), 346×260 (DAVIS346).

    Raises:
        InputError: SL0107, there is no such sensor, an event that it or 31 bits of time cannot hold, or
            times running backwards; SL0902, the path cannot be written.
    """
    known = {sensor.geometry: sensor for sensor in _SENSORS.values()}
    if geometry not in known:
        wanted = ", ".join(str(one) for one in known)
        raise InputError.of("SL0107", path, "AEDAT 2.0 knows no such sensor", wanted=wanted, got=geometry)
    require_writable_events(Path(path), events, geometry, MAX_TIME_US, "AEDAT 2.0")
    sensor = known[geometry]
    records = np.empty(len(events), RECORD)
    records["address"] = sensor.join(events)
    records["t"] = events["t"]
    head = f"#!AER-DAT2.0\r\n# AEChip: {sensor.chip}\r\n# End of ASCII Header\r\n"
    write_bytes(Path(path), head.encode() + records.tobytes())


def _header(stream: ByteStream) -> _Sensor:
    if stream.peek(len(MAGIC)) != MAGIC:
        raise Malformed("is no AEDAT 2.0", MAGIC.decode(), repr(stream.peek(len(MAGIC))))
    lines = read_lines(stream, b"#", ("End of ASCII Header",))
    chips = [line.partition(":")[2].strip() for line in lines if line.startswith("AEChip:")]
    name = chips[-1].rpartition(".")[2] if chips else "DVS128"
    sensor = _SENSORS.get(name.lower())
    if sensor is None:
        wanted = ", ".join(one.chip.rpartition(".")[2] for one in _SENSORS.values())
        raise Malformed("the addresses of this sensor are not known here", wanted, name)
    return sensor


def _split_dvs128(address: Addresses, events: Events) -> NDArray[np.bool_]:
    events["x"] = 127 - ((address >> 1) & 0x7F)
    events["y"] = (address >> 8) & 0x7F
    events["p"] = 1 - (address & 1)
    changes: NDArray[np.bool_] = address < 1 << 15
    return changes


def _join_dvs128(events: Events) -> Addresses:
    y = events["y"].astype(np.uint32)
    x = 127 - events["x"].astype(np.uint32)
    p = 1 - events["p"].astype(np.uint32)
    return np.asarray(y << 8 | x << 1 | p, np.uint32)


def _split_davis(address: Addresses, events: Events) -> NDArray[np.bool_]:
    events["y"] = (address >> 22) & 0x1FF
    events["x"] = (address >> 12) & 0x3FF
    events["p"] = (address >> 11) & 1
    changes: NDArray[np.bool_] = (address & 0x8000_0400) == 0
    return changes


def _join_davis(events: Events) -> Addresses:
    x, y, p = (events[field].astype(np.uint32) for field in "xyp")
    return np.asarray(y << 22 | x << 12 | p << 11, np.uint32)


_DAVIS = "eu.seebetter.ini.chips.davis."
_SENSORS = {
    "dvs128": _Sensor(
        "ch.unizh.ini.jaer.chip.retina.DVS128", Geometry(128, 128), _split_dvs128, _join_dvs128
    ),
    "davis240c": _Sensor(f"{_DAVIS}DAVIS240C", Geometry(240, 180), _split_davis, _join_davis),
    "davis346": _Sensor(f"{_DAVIS}Davis346", Geometry(346, 260), _split_davis, _join_davis),
}
_SENSORS |= dict.fromkeys(("davis240a", "davis240b"), _SENSORS["davis240c"])
_SENSORS |= dict.fromkeys(("davis346b", "davis346blue", "davis346red"), _SENSORS["davis346"])


def _matches(head: bytes) -> bool:
    return head.startswith(MAGIC)


FORMAT = Format("aedat2", (".aedat",), decode, title="AEDAT 2.0", matches=_matches, header=header)
