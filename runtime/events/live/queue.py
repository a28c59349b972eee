"""A queue of events that has an end: what finds it full waits, or is dropped and counted."""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import Literal

from spikeloom.runtime.events.stream import Chunk

WhenFull = Literal["wait", "drop"]


class EventQueue:
    """Chunks from one thread to another, at most ``limit`` events of them.

    A chunk that is larger than the limit goes in alone.

    Attributes:
        dropped: events that found the queue full and were dropped.

    >>> import numpy as np
    >>> from spikeloom.runtime.events.stream import EVENT
    >>> queue = EventQueue(limit=3, when_full="drop")
    >>> for count in (2, 2, 1):
    ...     queue.put(Chunk(np.zeros(count, EVENT)))
    >>> queue.close()
    >>> [len(chunk.events) for chunk in iter(lambda: queue.get(1.0), None)], queue.dropped
    ([2, 1], 2)
    """

    def __init__(self, limit: int, when_full: WhenFull) -> None:
        if limit < 1:
            raise ValueError(f"a queue of {limit} events")
        self.dropped = 0
        self._limit = limit
        self._when_full = when_full
        self._waiting: deque[Chunk] = deque()
        self._events = 0
        self._closed = False
        self._changed = Condition()

    def put(self, chunk: Chunk) -> None:
        """Add a chunk; wait for room or drop its events. A closed queue takes nothing and counts it."""
        size = len(chunk.events)
        with self._changed:
            if self._when_full == "wait":
                self._changed.wait_for(lambda: self._closed or self._has_room(size))
            if self._closed or not self._has_room(size):
                self.dropped += size
                return
            self._waiting.append(chunk)
            self._events += size
            self._changed.notify_all()

    def get(self, timeout: float) -> Chunk | None:
        """The next chunk, waiting for it; None if the queue is closed and empty.

        Raises:
            TimeoutError: nothing came for so many seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._closed, timeout):
                raise TimeoutError
            if not self._waiting:
                return None
            chunk = self._waiting.popleft()
            self._events -= len(chunk.events)
            self._changed.notify_all()
            return chunk

    def close(self) -> None:
        """Take no more; what waits can still be had."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """Events in the queue."""
        return self._events

    def _has_room(self, size: int) -> bool:
        return not self._waiting or self._events + size <= self._limit
