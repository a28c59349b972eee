"""What became of the events of a live source."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class LiveAccount:
    """Counts of a live source, in events unless said otherwise.

    Every event that arrived is somewhere: ``received`` = ``given`` + ``queue_dropped`` + what waits in the
    queue + what the check dropped (a :class:`~spikeloom.runtime.events.stream.DropReport` has that). What
    never arrived is known only where the protocol numbers its events.

    Attributes:
        received: that arrived whole.
        given: that were handed on.
        queue_dropped: that found the queue full.
        lost: that never arrived, by the numbers of those that did; 0 where nothing is numbered.
        repeated: that arrived a second time or too late, by the same; they are not in ``received``.
        malformed_bytes: that no event could be made of: of a packet cut off by a lost connection, say.
        packets: datagrams of UDP.
        system_dropped_packets: datagrams that found the operating system's buffer full (Linux tells).
        connections: how often a connection was made.
        failures: how often one could not be made, or ended.
        clock_restarts: how often times fell or leapt so that the sender's clock must have begun anew; times
            then go on where they were.
    """

    received: int = 0
    given: int = 0
    queue_dropped: int = 0
    lost: int = 0
    repeated: int = 0
    malformed_bytes: int = 0
    packets: int = 0
    system_dropped_packets: int = 0
    connections: int = 0
    failures: int = 0
    clock_restarts: int = 0

    def to_json(self) -> dict[str, int]:
        """The counts as a JSON object with the attributes as keys."""
        return asdict(self)
