"""Events from UDP: datagrams on a port that this process opens."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from threading import Event

from spikeloom.errors import InputError
from spikeloom.runtime.events.live.account import LiveAccount
from spikeloom.runtime.events.live.address import Address
from spikeloom.runtime.events.live.layouts import layout_of
from spikeloom.runtime.events.stream import Chunk

BUFFER = 1 << 22
"""Bytes that the operating system is asked to hold while this process is busy; it may give less."""

_DATAGRAM = 65536
_PATIENCE = 0.1
_SO_RXQ_OVFL = 40  # Linux: tell with each datagram how many found the socket's buffer full (socket(7))
_COUNTER_BYTES = 4


class UdpReceiver:
    """Receives on a host and port of this machine; whoever knows them may send.

    Datagrams that this machine drops because its buffer is full are counted; those that never reach it are
    lost without a trace unless the layout numbers its events.
    """

    when_full = "drop"

    def __init__(self, address: Address) -> None:
        """Open the port.

        Raises:
            InputError: SL0901, there is no such layout; SL0101, the port cannot be opened.
        """
        self._layout = layout_of(address.options.get("layout", "t64"), str(address))
        self._next: int | None = None
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            if sys.platform == "linux":
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
            self._socket.bind((address.host, address.port))
        except OSError as error:
            self._socket.close()
            raise InputError.of("SL0101", address, f"cannot be opened: {error.strerror or error}") from error
        self._socket.settimeout(_PATIENCE)

    @property
    def port(self) -> int:
        """The port that was opened; the system's choice where port 0 was asked for."""
        return int(self._socket.getsockname()[1])

    def run(self, give: Callable[[Chunk], None], stop: Event, account: LiveAccount) -> None:
        """Receive until told to stop."""
        with self._socket:
            while not stop.is_set():
                try:
                    data, told, _, _ = self._socket.recvmsg(_DATAGRAM, socket.CMSG_SPACE(_COUNTER_BYTES))
                except TimeoutError:
                    continue
                for level, kind, value in told:
                    if (level, kind) == (socket.SOL_SOCKET, _SO_RXQ_OVFL):
                        account.system_dropped_packets = int.from_bytes(value[:_COUNTER_BYTES], sys.byteorder)
                self._take(data, give, account)

    def _take(self, data: bytes, give: Callable[[Chunk], None], account: LiveAccount) -> None:
        found = self._layout.decode(data)
        account.packets += 1
        account.malformed_bytes += found.malformed_bytes
        if found.first is not None:
            if self._next is not None and found.first < self._next:
                account.repeated += len(found.events)
                return
            account.lost += found.first - (self._next or 0)
            self._next = found.first + len(found.events)
        if len(found.events):
            account.received += len(found.events)
            give(Chunk(found.events))
