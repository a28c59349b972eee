"""What is in an event file: counted in one pass, in constant memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spikeloom.runtime.events.formats import format_of, items_of, open_events, read_header
from spikeloom.runtime.events.stream import DropReport, Events, Geometry


@dataclass
class Summary:
    """Counts of the events of a recording.

    Attributes:
        events: how many there are.
        on: how many of them are on.
        first_us, last_us: the times of the first and the last.
        columns, rows: the smallest and largest x and y.
    """

    events: int = 0
    on: int = 0
    first_us: int = 0
    last_us: int = 0
    columns: tuple[int, int] = (0, 0)
    rows: tuple[int, int] = (0, 0)

    def add(self, events: Events) -> None:
        """Count the next events [n], n ≥ 1."""
        low_x, low_y = (int(events[axis].min()) for axis in "xy")
        high_x, high_y = (int(events[axis].max()) for axis in "xy")
        if self.events:
            low_x, high_x = min(low_x, self.columns[0]), max(high_x, self.columns[1])
            low_y, high_y = min(low_y, self.rows[0]), max(high_y, self.rows[1])
        else:
            self.first_us = int(events["t"][0])
        self.columns, self.rows = (low_x, high_x), (low_y, high_y)
        self.events += len(events)
        self.on += int((events["p"] == 1).sum())
        self.last_us = int(events["t"][-1])


@dataclass(frozen=True)
class Description:
    """An event file.

    Attributes:
        title: the format's name.
        size: bytes of the file.
        geometry: the sensor that the header names, or None.
        facts: what else the header says.
        summary: of a file with one recording, else None.
        dropped: what was not counted, and why.
        recordings: number of recordings in a file that holds several, else 1.
        labels: how many of them are of each class.
    """

    title: str
    size: int
    geometry: Geometry | None
    facts: dict[str, str]
    summary: Summary | None
    dropped: DropReport = field(default_factory=DropReport)
    recordings: int = 1
    labels: dict[int, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The description as a JSON object."""
        document: dict[str, Any] = {"format": self.title, "bytes": self.size, "header": dict(self.facts)}
        if self.geometry:
            document["sensor"] = {"width": self.geometry.width, "height": self.geometry.height}
        if self.summary is None:
            return document | {"recordings": self.recordings, "labels": self.labels}
        counts = self.summary
        return document | {
            "events": counts.events,
            "on": counts.on,
            "first_us": counts.first_us,
            "last_us": counts.last_us,
            "columns": list(counts.columns),
            "rows": list(counts.rows),
            "dropped": self.dropped.to_json(),
        }


def describe(path: Path | str) -> Description:
    r"""Read an event file from end to end and say what is in it; bad events are counted, not refused.

    Raises:
        InputError: SL0101, SL0106, SL0108, as :func:`~spikeloom.runtime.events.formats.open_events`.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.csv"
    ...     _ = path.write_text("t,x,y,p\n5,1,2,1\n9,3,2,0\n")
    ...     found = describe(path)
    >>> found.title, found.summary.events, found.summary.columns
    ('text, an event a line', 2, (1, 3))
    """
    path = Path(path)
    if items := items_of(path):
        reader = format_of(path)
        header = read_header(path, reader)
        labels = Counter(item.label for item in items if item.label is not None)
        return Description(
            reader.title,
            path.stat().st_size,
            header.geometry,
            dict(header.facts),
            None,
            recordings=len(items),
            labels=dict(sorted(labels.items())),
        )
    recording = open_events(path, None, strict=False)
    summary = Summary()
    for events in recording:
        summary.add(events)
    return Description(
        format_of(path).title or format_of(path).name,
        path.stat().st_size,
        recording.header.geometry,
        dict(recording.header.facts),
        summary,
        recording.report,
    )
