"""Other libraries as senders: ``python live_senders.py LIBRARY EVENTS.npy PORT``, run as `oracles` is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def dv(events: Any, port: int) -> None:
    """A server of dv-processing; it waits for its client, and for the client to read all."""
    import dv_processing as library

    store = library.EventStore()
    for t, x, y, p in events.tolist():
        store.push_back(t, x, y, bool(p))
    stream = library.io.Stream.EventStream(0, "events", "TEST", (128, 128))
    writer = library.io.NetworkWriter("127.0.0.1", port, stream)
    while not writer.getClientCount():
        time.sleep(0.01)
    writer.writeEvents(store)
    time.sleep(1)


def _faery(events: Any, port: int, layout: str) -> None:
    import faery as library

    made = np.empty(len(events), library.EVENTS_DTYPE)
    made["t"], made["x"], made["y"], made["on"] = (events[name] for name in "txyp")
    stream = library.events_stream_from_array(made, dimensions=(128, 128))
    stream.to_udp(("127.0.0.1", port), events_per_packet=50, format=layout)


def faery_t64(events: Any, port: int) -> None:
    """faery's default datagrams."""
    _faery(events, port, "t64_x16_y16_on8")


def faery_t32(events: Any, port: int) -> None:
    """faery's short datagrams."""
    _faery(events, port, "t32_x16_y15_on1")


SENDERS: dict[str, Callable[[Any, int], None]] = {f.__name__: f for f in (dv, faery_t64, faery_t32)}

if __name__ == "__main__":
    SENDERS[sys.argv[1]](np.load(sys.argv[2]), int(sys.argv[3]))
