"""A live source as chunks of checked events: a thread receives, a queue with an end lies between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Event, Thread
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from spikeloom.runtime.events.check import MAX_GAP_US, Check
from spikeloom.runtime.events.live.account import LiveAccount
from spikeloom.runtime.events.live.address import Address, parse_address
from spikeloom.runtime.events.live.queue import EventQueue, WhenFull
from spikeloom.runtime.events.live.stdin import StdinReceiver
from spikeloom.runtime.events.live.tcp import TcpReceiver
from spikeloom.runtime.events.live.udp import UdpReceiver
from spikeloom.runtime.events.stream import Chunk, DropReport, Events, Geometry

QUEUE_EVENTS = 1 << 20
RESTART_US = 1_000_000
"""Times that fall by more than this are those of a clock that began anew; by less, of events out of order."""

_PATIENCE = 0.1


class Receiver(Protocol):
    """What receives from one kind of source.

    Attributes:
        when_full: what is right for the transport: a sender that can wait does.
    """

    @property
    def when_full(self) -> str:
        """«wait» or «drop»."""
        ...

    def run(self, give: Callable[[Chunk], None], stop: Event, account: LiveAccount) -> None:
        """Receive and give until the source ends or ``stop`` is set."""
        ...


class LiveEvents:
    """Iterates over the checked events of a live source; :meth:`close` or leaving the context ends it.

    Events outside the sensor and out of order are dropped and counted, as in files without ``strict``.

    Attributes:
        account: what became of the events.
    """

    def __init__(
        self,
        receiver: Receiver,
        sensor: Geometry,
        queue_events: int = QUEUE_EVENTS,
        when_full: WhenFull | None = None,
        seconds: float | None = None,
    ) -> None:
        """Begin to receive.

        Args:
            receiver: of the source.
            sensor: on which events must lie.
            queue_events: the most that wait.
            when_full: «wait»: the sender waits, where the transport lets it; «drop»: events that find the
                queue full are dropped and counted. By default as suits the transport.
            seconds: end after so long.
        """
        self.account = LiveAccount()
        self._check = Check(sensor)
        self._queue = EventQueue(queue_events, when_full or receiver.when_full)  # type: ignore[arg-type]
        self._stop = Event()
        self._stopped = False
        self._error: BaseException | None = None
        self._end = None if seconds is None else time.monotonic() + seconds
        self._shift = 0
        self._latest: int | None = None
        self._thread = Thread(target=self._receive, args=(receiver,), daemon=True)
        self._thread.start()

    @property
    def report(self) -> DropReport:
        """What the check dropped so far."""
        return self._check.report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Events]:
        """Chunks of events, none empty, times never falling, until the source ends.

        Raises:
            InputError: as the receiver says.
        """
        while not self._over():
            try:
                chunk = self._queue.get(_PATIENCE)
            except TimeoutError:
                continue
            self.account.queue_dropped = self._queue.dropped
            if chunk is None:
                break
            events = self._check.keep(self._on_one_clock(chunk))
            self.account.given += len(events)
            if len(events):
                yield events
        self.close()
        if self._error is not None:
            raise self._error

    @property
    def waiting(self) -> int:
        """Events in the queue."""
        return self._queue.waiting

    def stop(self) -> None:
        """Let the iteration end soon; a signal handler may call this, since it takes no lock."""
        self._stopped = True

    def close(self) -> None:
        """End it: what still waits or arrives is counted as dropped by the queue."""
        self._stop.set()
        self._queue.close()
        self._thread.join(timeout=1)  # a pipe may not let go of its reader
        while self._queue.waiting:
            chunk = self._queue.get(_PATIENCE)
            self._queue.dropped += len(chunk.events) if chunk else 0
        self.account.queue_dropped = self._queue.dropped

    def _over(self) -> bool:
        late = self._end is not None and time.monotonic() >= self._end
        return late or self._stopped or self._stop.is_set()

    def _receive(self, receiver: Receiver) -> None:
        try:
            receiver.run(self._queue.put, self._stop, self.account)
        except Exception as error:  # told to whoever iterates
            self._error = error
        finally:
            self._queue.close()

    def _on_one_clock(self, chunk: Chunk) -> Chunk:
        """The events, their times moved on if the sender's clock began anew since the last chunk."""
        events = chunk.events
        if not len(events):
            return chunk
        first = int(events["t"][0]) + self._shift
        if self._latest is not None and not -RESTART_US <= first - self._latest <= MAX_GAP_US:
            self._shift += self._latest - first
            self.account.clock_restarts += 1
        if self._shift:
            events = events.copy()
            events["t"] += np.int64(self._shift)
        self._latest = max(int(events["t"][-1]), self._latest if self._latest is not None else -(2**62))
        return Chunk(events, None, 0, chunk.unplaced, chunk.unknown)


def receiver_of(
    address: Address, once: bool = False, tell: Callable[[str], None] = lambda what: None
) -> Receiver:
    """The receiver for an address.

    Args:
        address: of the source.
        once: TCP ends with its first connection.
        tell: hears why TCP has no connection, whenever that changes; called in the thread that receives.

    Raises:
        InputError: SL0901, SL0101, SL0106, as the receivers say.
    """
    if address.scheme == "tcp":
        return TcpReceiver(address, once, tell)
    if address.scheme == "udp":
        return UdpReceiver(address)
    return StdinReceiver(address)


def open_live(
    source: str,
    sensor: Geometry,
    queue_events: int = QUEUE_EVENTS,
    when_full: WhenFull | None = None,
    seconds: float | None = None,
    tell: Callable[[str], None] = lambda what: None,
) -> LiveEvents:
    """The events of ``tcp://HOST:PORT``, ``udp://HOST:PORT?layout=LAYOUT`` or ``stdin:FORMAT``.

    Raises:
        InputError: SL0901, the address is malformed; SL0101, a port cannot be opened; SL0106, there is no
            such format.
    """
    receiver = receiver_of(parse_address(source), tell=tell)
    return LiveEvents(receiver, sensor, queue_events, when_full, seconds)
