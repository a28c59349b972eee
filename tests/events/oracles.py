"""Other libraries' reading of an event file: ``python oracles.py LIBRARY FILE WIDTH HEIGHT``.

Run as a program of its own by a Python that has the libraries; some are GPL or LGPL, so nothing of ours
imports them. It prints the number of events and a SHA-256 of t, x, y and p as 64-bit integers.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Columns = tuple[Any, Any, Any, Any]


def evutils(path: str, width: int, height: int) -> Columns:
    from evutils.io import EventReader

    events = EventReader(path, mode="all").read()
    return events["t"], events["x"], events["y"], events["p"]


def evlib(path: str, width: int, height: int) -> Columns:
    import evlib as library

    table = library.load_events(path).collect()
    times = table["t"].dt.total_microseconds().to_numpy()
    return times, table["x"].to_numpy(), table["y"].to_numpy(), table["polarity"].to_numpy() > 0


def eventcv(path: str, width: int, height: int) -> Columns:
    import eventcv as library

    events = library.load(path, sensor_size=(width, height)).numpy()
    return events[:, 2], events[:, 0], events[:, 1], events[:, 3]


def faery(path: str, width: int, height: int) -> Columns:
    import faery as library

    events = np.concatenate(list(library.events_stream_from_file(path)))
    return events["t"], events["x"], events["y"], events["on"]


def dv_processing(path: str, width: int, height: int) -> Columns:
    import dv_processing as library

    recording = library.io.MonoCameraRecording(path)
    parts = []
    while recording.isRunning() and (batch := recording.getNextEventBatch()) is not None:
        parts.append(batch.numpy())
    events = np.concatenate(parts)
    return events["timestamp"], events["x"], events["y"], events["polarity"]


def aedat(path: str, width: int, height: int) -> Columns:
    import aedat as library

    events = np.concatenate([packet["events"] for packet in library.Decoder(path) if "events" in packet])
    return events["t"], events["x"], events["y"], events["on"]


def event_stream(path: str, width: int, height: int) -> Columns:
    import event_stream as library

    events = np.concatenate(list(library.Decoder(path)))
    return events["t"], events["x"], events["y"], events["on"]


def tonic(path: str, width: int, height: int) -> Columns:
    import tonic.io as library

    events = library.read_mnist_file(path, np.dtype([("x", int), ("y", int), ("t", int), ("p", int)]))
    return events["t"], events["x"], events["y"], events["p"]


def expelliarmus(path: str, width: int, height: int) -> Columns:
    from expelliarmus import Wizard

    events = Wizard(encoding="dat").read(path)
    return events["t"], events["x"], events["y"], events["p"]


LIBRARIES: dict[str, Callable[[str, int, int], Columns]] = {
    library.__name__: library
    for library in (
        aedat,
        dv_processing,
        event_stream,
        eventcv,
        evlib,
        evutils,
        expelliarmus,
        faery,
        tonic,
    )
}


def digest(columns: Columns) -> str:
    """A SHA-256 of the columns as 64-bit integers."""
    return hashlib.sha256(b"".join(np.asarray(c).astype(np.int64).tobytes() for c in columns)).hexdigest()


if __name__ == "__main__":
    name, file, width, height = sys.argv[1:5]
    found = LIBRARIES[name](file, int(width), int(height))
    if "--flip-y" in sys.argv:
        found = (found[0], found[1], int(height) - 1 - np.asarray(found[2]).astype(np.int64), found[3])
    print(len(found[0]), digest(found), [int(c[0]) for c in found], [int(c[-1]) for c in found])
