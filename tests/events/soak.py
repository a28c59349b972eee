"""A live TCP source under kills and reconnects: ``python -m tests.events.soak [--seconds 600] [--seed S]``.

A sender in a process of its own speaks dv's protocol; event number n has the time n, so that each is known
when it arrives. The sender is killed (SIGKILL) and begun anew, the receiver is closed and opened anew, and
reads now fast, now slowly. It must hold, to the event:

- what arrives is what was sent: each event once, in order, unchanged;
- of each life of the sender a whole beginning arrives, and when only the sender was killed, all of it that
  the operating system had taken;
- received = given + dropped by the queue; sent = received + in flight when a connection ended.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized

import numpy as np

from spikeloom.runtime.events.live.source import LiveEvents, open_live
from spikeloom.runtime.events.stream import EVENT, Events, Geometry
from tests.events.dv_server import PACKET_EVENTS, header, packet

SENSOR = Geometry(346, 260)
EVENTS_A_SECOND = 600_000
QUEUE_EVENTS = 60_000
_CONTEXT = multiprocessing.get_context("forkserver")  # a large process may be too large to be doubled
_CONTEXT.set_forkserver_preload(["tests.events.soak"])


def numbered(first: int, count: int) -> Events:
    """Events number ``first`` and on."""
    number = np.arange(first, first + count, dtype=np.int64)
    made = np.empty(count, EVENT)
    made["t"] = number
    made["x"], made["y"] = number % SENSOR.width, number // 7 % SENSOR.height
    made["p"] = number // 3 % 2
    return made


def _serve(port: int, begun: Synchronized[int], sent: Synchronized[int]) -> None:
    """Send to whoever connects, from event ``begun`` on, until killed."""
    listener = socket.create_server(("127.0.0.1", port), reuse_port=False)
    while True:
        client, _ = listener.accept()
        try:
            client.sendall(header(SENSOR))
            _send(client, begun, sent)
        except OSError:
            client.close()


def _send(client: socket.socket, begun: Synchronized[int], sent: Synchronized[int]) -> None:
    start, first = time.monotonic(), begun.value
    while True:
        if begun.value - first > (time.monotonic() - start) * EVENTS_A_SECOND:
            time.sleep(0.001)
            continue
        data = packet(numbered(begun.value, PACKET_EVENTS))
        begun.value += PACKET_EVENTS
        client.sendall(data)
        sent.value = begun.value


@dataclass
class Sender:
    """The process that sends, and what it has sent.

    Attributes:
        lives: events of each life that was ended: its first, those that the system took, those begun.
    """

    port: int
    begun: Synchronized[int] = field(default_factory=lambda: _CONTEXT.Value("q", 0))
    sent: Synchronized[int] = field(default_factory=lambda: _CONTEXT.Value("q", 0))
    lives: list[tuple[int, int, int]] = field(default_factory=list)

    def start(self) -> None:
        self._first = self.begun.value
        self.sent.value = self._first
        self._process = _CONTEXT.Process(target=_serve, args=(self.port, self.begun, self.sent), daemon=True)
        self._process.start()

    def kill(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()
        self.lives.append((self._first, self.sent.value, self.begun.value))


@dataclass
class Ledger:
    """What arrived.

    Attributes:
        spans: first and last + 1 of each unbroken run of event numbers, in order.
        events: how many events that are.
    """

    spans: list[list[int]] = field(default_factory=list)
    events: int = 0

    def add(self, got: Events) -> None:
        first, count = int(got["t"][0]), len(got)
        breaks = np.flatnonzero(np.diff(got["t"]) != 1) + 1
        for part in np.split(got, breaks):
            assert np.array_equal(part, numbered(int(part["t"][0]), len(part))), "an event was changed"
            self._span(int(part["t"][0]), len(part))
        assert count, first
        self.events += count

    def _span(self, first: int, count: int) -> None:
        if self.spans and first == self.spans[-1][1]:
            self.spans[-1][1] += count
            return
        assert not self.spans or first > self.spans[-1][1], "an event came twice, or late"
        self.spans.append([first, first + count])


def soak(seconds: float, seed: int = 0) -> Counter[str]:
    """Run for so long; the counts.

    Raises:
        AssertionError: an event is not accounted for.
    """
    rng = random.Random(seed)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sender, ledger, counts = Sender(port), Ledger(), Counter[str]()
    sender.start()
    end = time.monotonic() + seconds
    closed_at: list[int] = []
    while time.monotonic() < end:
        with open_live(f"tcp://127.0.0.1:{port}", SENSOR, QUEUE_EVENTS) as live:
            _read(live, sender, ledger, counts, rng, min(end, time.monotonic() + rng.uniform(1, 8)))
            last = time.monotonic() >= end
            if last:
                sender.kill()
                _drain(live, ledger)
        closed_at.append(ledger.spans[-1][1] if ledger.spans else 0)
        _settle(live, counts)
        counts["receivers"] += 1
    _account(sender, ledger, counts, closed_at)
    return counts


def _read(
    live: LiveEvents, sender: Sender, ledger: Ledger, counts: Counter[str], rng: random.Random, end: float
) -> None:
    """Read, now and then slowly, and kill the sender now and then."""
    kill_at = time.monotonic() + rng.uniform(0.2, 2)
    for got in _until(live, end):
        ledger.add(got)
        if rng.random() < 0.001:
            time.sleep(rng.uniform(0, 0.3))
        if time.monotonic() >= kill_at:
            sender.kill()
            sender.start()
            counts["senders killed"] += 1
            kill_at = time.monotonic() + rng.uniform(0.2, 2)


def _until(live: LiveEvents, end: float) -> Iterator[Events]:
    for got in live:
        yield got
        if time.monotonic() >= end:
            return


def _drain(live: LiveEvents, ledger: Ledger) -> None:
    """Read what a killed sender left behind."""
    quiet = time.monotonic() + 1
    while time.monotonic() < quiet:
        if live.waiting:
            ledger.add(next(iter(live)))
            quiet = time.monotonic() + 1
        time.sleep(0.001)


def _settle(live: LiveEvents, counts: Counter[str]) -> None:
    account = live.account
    assert not live.report, live.report
    assert account.received == account.given + account.queue_dropped, account
    assert account.clock_restarts == account.lost == account.repeated == 0, account
    for name in ("received", "given", "queue_dropped", "connections", "malformed_bytes"):
        counts[name] += getattr(account, name)


def _account(sender: Sender, ledger: Ledger, counts: Counter[str], closed_at: list[int]) -> None:
    assert ledger.events == counts["given"]
    begun = sender.begun.value
    counts["sent"] = begun
    counts["in flight at breaks"] = begun - counts["received"]
    assert counts["in flight at breaks"] >= 0, "more arrived than was sent"
    for first, taken, last in sender.lives:
        if any(first <= place <= last for place in closed_at[:-1]):
            continue  # the receiver was closed meanwhile: what was in flight then is counted, not known
        arrived = [span for span in ledger.spans if first <= span[0] < last or span[0] < first < span[1]]
        if not arrived:
            assert taken == first, f"a life of {taken - first} events left no trace"
            continue
        reach = min(max(span[1] for span in arrived), last)
        assert taken <= reach <= last, f"events {reach} to {taken} were taken by the system and never arrived"
        counts["lives checked"] += 1


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = soak(options.seconds, options.seed)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    for name, count in counts.items():
        print(f"{name}: {count:,}")
    print(f"every event is accounted for; memory +{grown} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
