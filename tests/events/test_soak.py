"""The soak command for a few seconds; ten minutes by hand: ``python -m tests.events.soak``."""

from __future__ import annotations

from tests.events.soak import soak


def test_every_event_is_accounted_for() -> None:
    counts = soak(5, seed=2)
    assert counts["given"] > 50_000
    assert counts["senders killed"] >= 1
