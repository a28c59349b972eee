"""A server of events as iniVation's dv has them, which can hang up and count what it sent."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self

import numpy as np

from spikeloom.runtime.events.aedat4 import RECORD
from spikeloom.runtime.events.stream import Events, Geometry

PACKET_EVENTS = 512


class DvServer:
    """Sends events to one client at a time.

    Attributes:
        sent: events of whole packets that the operating system took.
    """

    def __init__(self, sensor: Geometry, buffer: int = 1 << 16) -> None:
        self.sent = 0
        self._sensor = sensor
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        self._client: socket.socket | None = None

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self.hang_up()
        self._listener.close()

    def wait_for_client(self, seconds: float = 20) -> None:
        self._listener.settimeout(seconds)
        self._client, _ = self._listener.accept()
        self._client.sendall(header(self._sensor))

    def send(self, made: Events) -> int:
        """Send events in packets; how many went out whole before the client was gone."""
        before = self.sent
        for start in range(0, len(made), PACKET_EVENTS):
            part = made[start : start + PACKET_EVENTS]
            if not self.send_raw(packet(part)):
                break
            self.sent += len(part)
        return self.sent - before

    def send_raw(self, data: bytes) -> bool:
        assert self._client is not None
        try:
            self._client.sendall(data)
        except OSError:
            return False
        return True

    def hang_up(self, rudely: bool = False) -> None:
        """End the connection; rudely: with a reset, which throws away what is on its way."""
        if self._client is None:
            return
        if rudely:
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._client.close()
        self._client = None


def header(sensor: Geometry) -> bytes:
    """The header of a stream: that of an AEDAT 4 file without its first line."""
    attributes = '<attr key="typeIdentifier" type="string">EVTS</attr>'
    sides = f'<attr key="sizeX" type="int">{sensor.width}</attr>'
    sides += f'<attr key="sizeY" type="int">{sensor.height}</attr>'
    text = (
        f'<dv version="2.0"><node name="outInfo" path="/"><node name="0" path="/0/">{attributes}'
        f'<node name="info" path="/0/info/">{sides}</node></node></node></dv>'
    ).encode()
    table = struct.pack("<I4s6x5H", 24, b"IOHE", 10, 20, 4, 12, 8) + struct.pack("<iiIq", 10, 0, 12, -1)
    table += struct.pack("<I", len(text)) + text
    return struct.pack("<I", len(table)) + table


def packet(made: Events) -> bytes:
    """A packet of events."""
    records = np.zeros(len(made), RECORD)
    records["t"], records["x"], records["y"], records["on"] = (made[name] for name in "txyp")
    content = struct.pack("<I4s2x3HiI", 16, b"EVTS", 6, 8, 4, 6, 4)
    content += struct.pack("<I", len(made)) + records.tobytes()
    content = struct.pack("<I", len(content)) + content
    return struct.pack("<ii", 0, len(content)) + content
