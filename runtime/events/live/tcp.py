"""Events from TCP: a server of iniVation's dv, such as dv-processing's NetworkWriter or a camera's module.

The server sends what an AEDAT 4 file holds after its first line: a header, then packets. Nothing is lost
while a connection lasts; what the server sent between two connections is, and the protocol does not say how
much. A reader that is slow makes the server wait.
"""

from __future__ import annotations

import errno
import io
import os
import socket
from collections.abc import Callable
from threading import Event

from spikeloom.runtime.events.aedat4 import MAGIC, decode
from spikeloom.runtime.events.live.account import LiveAccount
from spikeloom.runtime.events.live.address import Address
from spikeloom.runtime.events.source import ByteStream
from spikeloom.runtime.events.stream import Chunk, Malformed

CHUNK_EVENTS = 16384
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 2.0
_PATIENCE = 0.1


class TcpReceiver:
    """Connects to a server, and again whenever the connection ends, until told to stop.

    Attributes:
        once: end with the first connection that was made.
    """

    when_full = "wait"

    def __init__(
        self, address: Address, once: bool = False, tell: Callable[[str], None] = lambda what: None
    ) -> None:
        """``tell`` hears, in the thread that receives, why there is no connection, whenever that changes."""
        self._address = address
        self._tell, self._told = tell, ""
        self.once = once

    def run(self, give: Callable[[Chunk], None], stop: Event, account: LiveAccount) -> None:
        """Receive until told to stop."""
        wait = _FIRST_WAIT
        while not stop.is_set():
            try:
                connection = self._connect()
            except OSError as error:
                what = f"cannot be reached: {error.strerror or error}"
            else:
                account.connections += 1
                before = account.received
                what = self._receive(connection, give, stop, account)
                if self.once:
                    return
                if account.received > before:
                    wait, self._told = _FIRST_WAIT, ""
            account.failures += 1
            if what != self._told and not stop.is_set():
                self._tell(f"{self._address} {what}; trying again")
                self._told = what
            stop.wait(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _connect(self) -> socket.socket:
        connection = socket.create_connection((self._address.host, self._address.port), 2.0)
        if connection.getsockname() == connection.getpeername():
            # TCP lets a port of this machine that nobody listens on connect to itself, and so be taken
            connection.close()
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return connection

    def _receive(
        self, connection: socket.socket, give: Callable[[Chunk], None], stop: Event, account: LiveAccount
    ) -> str:
        """Give the events of one connection; why there are no more."""
        with connection:
            connection.settimeout(_PATIENCE)
            try:
                for chunk in decode(ByteStream(_from_socket(connection, stop)), CHUNK_EVENTS):
                    account.malformed_bytes += chunk.left_over_bytes
                    account.received += len(chunk.events)
                    if len(chunk.events):
                        give(Chunk(chunk.events))
            except Malformed as error:  # no server of events, or one that went away within its header
                return f"sends no events of dv: {error}"
        return "has ended the connection"


def _from_socket(connection: socket.socket, stop: Event) -> io.BufferedReader:
    return io.BufferedReader(_SocketBytes(connection, stop), 1 << 16)


class _SocketBytes(io.RawIOBase):
    """The bytes of a connection after the line that a file would begin with; they end when it does."""

    def __init__(self, connection: socket.socket, stop: Event) -> None:
        self._connection, self._stop = connection, stop
        self._ahead = MAGIC

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: object) -> int:
        """Wait for bytes; 0 at the end of the connection."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        if self._ahead:
            size = min(len(view), len(self._ahead))
            view[:size] = self._ahead[:size]
            self._ahead = self._ahead[size:]
            return size
        while not self._stop.is_set():
            try:
                return self._connection.recv_into(view)
            except TimeoutError:
                continue
            except OSError:  # the other side is gone
                return 0
        return 0
