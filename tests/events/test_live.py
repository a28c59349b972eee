"""Live sources: every event that is sent is given, or counted where it was lost."""

from __future__ import annotations

import io
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from spikeloom.errors import InputError
from spikeloom.runtime.events.live.account import LiveAccount
from spikeloom.runtime.events.live.address import Address, is_live, parse_address
from spikeloom.runtime.events.live.layouts import LAYOUTS, encode, layout_of
from spikeloom.runtime.events.live.queue import EventQueue
from spikeloom.runtime.events.live.source import LiveEvents, open_live
from spikeloom.runtime.events.live.stdin import StdinReceiver
from spikeloom.runtime.events.live.tcp import TcpReceiver
from spikeloom.runtime.events.live.udp import UdpReceiver
from spikeloom.runtime.events.stream import EVENT, Chunk, Events, Geometry
from tests.event_files import SENSOR, events, evt3
from tests.events.dv_server import DvServer

PATIENCE = 20.0


def until(condition: object) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "took too long"
        time.sleep(0.005)


def pieces(made: Events, size: int) -> Iterator[Events]:
    for start in range(0, len(made), size):
        yield made[start : start + size]


# --- the queue -------------------------------------------------------------------------------------------


def test_a_full_queue_makes_its_sender_wait() -> None:
    queue = EventQueue(100, "wait")
    sent: list[int] = []

    def send() -> None:
        for number in range(20):
            queue.put(Chunk(np.zeros(30, EVENT)))
            sent.append(number)
        queue.close()

    sender = threading.Thread(target=send)
    sender.start()
    until(lambda: len(sent) == 3)
    time.sleep(0.05)
    assert (len(sent), queue.waiting) == (3, 90)
    got = 0
    while chunk := queue.get(PATIENCE):
        got += len(chunk.events)
        assert queue.waiting <= 100
    sender.join()
    assert (got, queue.dropped) == (600, 0)


def test_a_chunk_larger_than_the_queue_goes_in_alone() -> None:
    queue = EventQueue(5, "drop")
    for _ in range(2):
        queue.put(Chunk(np.zeros(9, EVENT)))
    assert (queue.waiting, queue.dropped) == (9, 9)


def test_a_queue_that_gives_nothing_times_out() -> None:
    with pytest.raises(TimeoutError):
        EventQueue(5, "wait").get(0.01)


# --- layouts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_datagrams_come_back(layout: str) -> None:
    made = events(3000)
    decoder, back, number = layout_of(layout, ""), [], 0
    for piece in pieces(made, 70):
        found = decoder.decode(encode(piece, layout, number))
        assert found.malformed_bytes == 0
        assert found.first == (number if layout == "numbered" else None)
        number += len(piece)
        back.append(found.events)
    np.testing.assert_array_equal(np.concatenate(back), made)


@pytest.mark.parametrize("layout", ["t32", "spif"])
def test_clocks_of_32_bits_wrap(layout: str) -> None:
    made = events(500, span_us=5_000_000)
    made["t"] += 2**32 - 2_000_000
    decoder = layout_of(layout, "")
    back = np.concatenate([decoder.decode(encode(piece, layout)).events for piece in pieces(made, 50)])
    np.testing.assert_array_equal(back, made)


def test_the_words_of_spif_without_times() -> None:
    """AEStream: x | 0x8000 above, y with the polarity in its highest bit below."""
    words = [(x | 0x8000) << 16 | (y | 0x8000 if p else y) for x, y, p in [(3, 4, 1), (600, 479, 0)]]
    before = time.monotonic_ns() // 1000
    found = layout_of("spif", "").decode(struct.pack("<2I", *words))
    assert [event[1:] for event in found.events.tolist()] == [(3, 4, 1), (600, 479, 0)]
    assert before <= found.events["t"][0] <= found.events["t"][1] <= time.monotonic_ns() // 1000


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_datagram_breaks_a_layout(layout: str) -> None:
    rng = random.Random(0)
    decoder = layout_of(layout, "")
    for _ in range(2000):
        data = bytearray(encode(events(rng.randrange(1, 9)), layout))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        data = data[: rng.randrange(len(data) + 1)] if rng.random() < 0.5 else data
        found = decoder.decode(bytes(data))
        assert found.malformed_bytes + 4 * len(found.events) <= len(data)
        assert (np.abs(found.events["t"]) <= 2**62).all()


# --- addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["tcp://127.0.0.1:7777", "udp://127.0.0.1:3333?layout=spif", "udp://[::1]:0", "stdin:evt3"]
)
def test_addresses_come_back(text: str) -> None:
    assert is_live(text)
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text", ["tcp://", "tcp://host", "udp://host:99999", "udp://h:1?layout", "udp://h:1?speed=3", "ftp://h:1",
             "tcp://h:1?layout=t64", "stdin:", "tcp://h:1/path"]
)  # fmt: skip
def test_malformed_addresses(text: str) -> None:
    with pytest.raises(InputError, match="SL0901"):
        parse_address(text)


def test_sources_that_cannot_be_opened() -> None:
    with pytest.raises(InputError, match=r"SL0901 .*no such layout"):
        open_live("udp://127.0.0.1:0?layout=t65", SENSOR)
    with UdpReceiver(Address("udp", "127.0.0.1"))._socket as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match="SL0101"):
            open_live(f"udp://127.0.0.1:{port}", SENSOR)
    for name in ("hdf5", "polaroid"):
        with pytest.raises(InputError, match="SL0106"):
            open_live(f"stdin:{name}", SENSOR)


# --- udp -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_events_from_udp(layout: str) -> None:
    made = events(4000)
    receiver = UdpReceiver(Address("udp", "127.0.0.1", options={"layout": layout}))
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    got: list[Events] = []
    with sender, LiveEvents(receiver, SENSOR) as live:
        stream = iter(live)
        number = 0
        for piece in pieces(made, 40):
            sender.sendto(encode(piece, layout, number), ("127.0.0.1", receiver.port))
            number += len(piece)
            got.append(next(stream))
    np.testing.assert_array_equal(np.concatenate(got), made)
    assert live.account == LiveAccount(received=4000, given=4000, packets=100)


def test_losses_of_numbered_datagrams_are_known() -> None:
    """A tenth is never sent, a tenth comes twice: both are counted, to the event."""
    made = events(9000)
    rng = random.Random(3)
    receiver = UdpReceiver(Address("udp", "127.0.0.1", options={"layout": "numbered"}))
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    lost = repeated = number = 0
    with sender, LiveEvents(receiver, SENSOR) as live:
        stream = iter(live)
        kept = []
        for index, piece in enumerate(pieces(made, 30)):
            last = index == 299
            fate = 1.0 if last else rng.random()
            data = encode(piece, "numbered", number)
            number += len(piece)
            if fate < 0.1:
                lost += len(piece)
                continue
            sender.sendto(data, ("127.0.0.1", receiver.port))
            if fate < 0.2:
                sender.sendto(data, ("127.0.0.1", receiver.port))
                repeated += len(piece)
            kept.append(piece)
            np.testing.assert_array_equal(next(stream), piece)
        until(lambda: live.account.repeated == repeated)
    account = live.account
    assert (account.lost, account.repeated) == (lost, repeated)
    assert min(lost, repeated) > 300
    assert account.given == account.received == sum(map(len, kept)) == 9000 - lost


def test_what_finds_the_queue_full_is_counted() -> None:
    receiver = UdpReceiver(Address("udp", "127.0.0.1", options={"layout": "numbered"}))
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made = events(5000)
    with sender, LiveEvents(receiver, SENSOR, queue_events=500) as live:
        for number, piece in enumerate(pieces(made, 50)):
            sender.sendto(encode(piece, "numbered", 50 * number), ("127.0.0.1", receiver.port))
            until(lambda wanted=number + 1: live.account.packets == wanted)
        assert live.waiting == 500
        stream = iter(live)
        given = sum(len(next(stream)) for _ in range(10))
    account = live.account
    assert (given, account.queue_dropped, account.received, account.lost) == (500, 4500, 5000, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_datagrams_that_the_system_drops_are_counted() -> None:
    """Far more is sent than the socket's buffer holds before anyone reads it; then one more."""
    receiver = UdpReceiver(Address("udp", "127.0.0.1", options={"layout": "numbered"}))
    made, count = events(100), 20_000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(count):
            sender.sendto(encode(made, "numbered", 100 * number), ("127.0.0.1", receiver.port))
        with LiveEvents(receiver, SENSOR, queue_events=10_000_000) as live:
            until(lambda: live.account.packets and live.account.packets == live.waiting // 100)
            time.sleep(0.2)
            sender.sendto(encode(made, "numbered", 100 * count), ("127.0.0.1", receiver.port))
            until(lambda: live.account.packets + live.account.system_dropped_packets == count + 1)
    account = live.account
    assert account.system_dropped_packets > 1000
    assert account.lost == 100 * account.system_dropped_packets
    assert account.received + account.lost == 100 * (count + 1)


# --- tcp -------------------------------------------------------------------------------------------------


def test_events_from_a_dv_server() -> None:
    made = events(20_000)
    with DvServer(SENSOR) as server, open_live(server.address, SENSOR) as live:
        stream = iter(live)
        server.wait_for_client()
        server.send(made)
        got: list[Events] = []
        while sum(map(len, got)) < len(made):
            got.append(next(stream))
    np.testing.assert_array_equal(np.concatenate(got), made)
    assert (live.account.received, live.account.given, live.account.connections) == (20_000, 20_000, 1)


def test_a_slow_reader_makes_the_server_wait() -> None:
    """Nothing is dropped: the server's own send blocks once the queue and the kernel's buffers are full."""
    made = events(400_000, span_us=3_000_000)
    with DvServer(SENSOR) as server, open_live(server.address, SENSOR, queue_events=20_000) as live:
        server.wait_for_client()
        sender = threading.Thread(target=server.send, args=(made,))
        sender.start()
        time.sleep(0.5)
        assert live.waiting <= 20_000 + 16_384
        assert server.sent < len(made)
        got, stream = 0, iter(live)
        while got < len(made):
            got += len(next(stream))
        sender.join()
    assert (live.account.received, live.account.queue_dropped) == (400_000, 0)


def test_it_connects_again() -> None:
    made = events(3000)
    parts = list(pieces(made, 1000))
    with DvServer(SENSOR) as server, open_live(server.address, SENSOR) as live:
        stream, got = iter(live), []
        for part in parts:
            server.wait_for_client()
            server.send(part)
            got.append(next(stream))
            while sum(map(len, got)) % 1000:
                got.append(next(stream))
            server.hang_up()
    np.testing.assert_array_equal(np.concatenate(got), made)
    assert live.account.connections >= 3
    assert live.account.failures >= 2


def test_a_port_that_nobody_listens_on_does_not_connect_to_itself() -> None:
    """Bound to the port that it connects to, as the system does now and then, a socket reaches itself."""
    create = socket.create_connection

    def to_itself(address: tuple[str, int], timeout: float) -> socket.socket:
        return create(address, timeout, source_address=address)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "create_connection", to_itself)
        with open_live(f"tcp://127.0.0.1:{port}", SENSOR) as live:
            until(lambda: live.account.failures >= 2)
    assert live.account.connections == 0


def test_why_there_is_no_connection_is_told_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    told: list[str] = []
    with open_live(address, SENSOR, tell=told.append) as live:
        until(lambda: live.account.failures >= 3)
    assert told == [f"{address} cannot be reached: Connection refused; trying again"]
    with DvServer(SENSOR) as server, open_live(server.address, SENSOR, tell=told.append) as live:
        server.wait_for_client()
        server.hang_up()
        until(lambda: len(told) == 2)
        assert told[1].startswith(f"{server.address} ")
        assert told[1].endswith("; trying again")


def test_a_server_that_speaks_another_language() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        live = LiveEvents(TcpReceiver(Address("tcp", "127.0.0.1", port), once=True), SENSOR)
        client, _ = listener.accept()
        with client:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(4000))
        assert list(live) == []
    assert (live.account.connections, live.account.received) == (1, 0)


def test_a_packet_that_was_cut_off_is_counted() -> None:
    made = events(1000)
    with DvServer(SENSOR) as server:
        live = LiveEvents(TcpReceiver(parse_address(server.address), once=True), SENSOR)
        server.wait_for_client()
        server.send(made)
        server.send_raw(struct.pack("<ii", 0, 5000) + bytes(700))
        server.hang_up()
        got = np.concatenate(list(live))
    np.testing.assert_array_equal(got, made)
    assert live.account.malformed_bytes == 708


# --- pipes, and the clock --------------------------------------------------------------------------------


def test_events_from_a_pipe() -> None:
    made = events(5000)
    live = LiveEvents(StdinReceiver(Address("stdin", name="evt3"), io.BytesIO(evt3(made))), SENSOR)
    np.testing.assert_array_equal(np.concatenate(list(live)), made)


def test_a_pipe_of_another_format() -> None:
    live = LiveEvents(StdinReceiver(Address("stdin", name="aedat4"), io.BytesIO(b"nonsense")), SENSOR)
    with pytest.raises(InputError, match="SL0108 stdin:aedat4"):
        list(live)


class Chunks:
    when_full = "wait"

    def __init__(self, *chunks: list[tuple[int, int, int, int]]) -> None:
        self.chunks = chunks

    def run(self, give: object, stop: object, account: LiveAccount) -> None:
        for chunk in self.chunks:
            give(Chunk(np.array(chunk, EVENT)))  # type: ignore[operator]


def test_a_clock_that_begins_anew_goes_on_where_it_was() -> None:
    hour = 3_600_000_000
    live = LiveEvents(
        Chunks([(hour, 1, 1, 1), (hour + 5, 1, 1, 1)], [(0, 2, 2, 0), (7, 2, 2, 0)], [(9, 3, 3, 0)],
               [(100 * hour, 3, 3, 0)]), Geometry(8, 8)
    )  # fmt: skip
    times = np.concatenate([chunk["t"] for chunk in live]).tolist()
    assert times == [hour, hour + 5, hour + 5, hour + 12, hour + 14, hour + 14]
    assert live.account.clock_restarts == 2


def test_events_out_of_order_and_outside_are_dropped_and_counted() -> None:
    live = LiveEvents(Chunks([(10, 1, 1, 1), (5, 1, 1, 1), (11, 9, 1, 1)], [(9, 1, 1, 0)]), Geometry(8, 8))
    assert np.concatenate(list(live))["t"].tolist() == [10]
    assert (live.report.backwards, live.report.outside) == (2, 1)
    assert live.account.clock_restarts == 0


def test_it_ends_after_the_seconds_asked_for() -> None:
    begin = time.monotonic()
    assert list(LiveEvents(UdpReceiver(Address("udp", "127.0.0.1")), SENSOR, seconds=0.3)) == []
    assert 0.25 < time.monotonic() - begin < 5
