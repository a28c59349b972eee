"""Who talks to whom, as arrays that compiled loops take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Talk:
    """Messages between cores: row ``core`` of a sparse matrix lists those that it talks to or hears from.

    Attributes:
        first: where each row starts in the other arrays; one more than there are cores.
        other: the other core.
        sent, received: messages a step to it and from it.
    """

    first: Counts
    other: Counts
    sent: Weights
    received: Weights

    @property
    def cores(self) -> int:
        """How many cores."""
        return len(self.first) - 1

    @property
    def owner(self) -> Counts:
        """The core of every entry."""
        return np.repeat(np.arange(self.cores), np.diff(self.first))


def talk_of(pairs: Counts, messages: Weights, cores: int) -> Talk:
    """The same as arrays.

    Args:
        pairs: [flows, 2], the cores that send and receive.
        messages: of each.
        cores: how many there are.

    >>> talk = talk_of(np.array([[0, 1], [1, 0], [0, 2]]), np.array([1.0, 2.0, 3.0]), 3)
    >>> talk.first.tolist(), talk.other.tolist(), talk.sent.tolist(), talk.received.tolist()
    ([0, 2, 3, 4], [1, 2, 0, 0], [1.0, 3.0, 2.0, 0.0], [2.0, 0.0, 1.0, 3.0])
    """
    keys = np.concatenate([pairs[:, 0] * cores + pairs[:, 1], pairs[:, 1] * cores + pairs[:, 0]])
    nothing = np.zeros(len(messages))
    unique, place = np.unique(keys, return_inverse=True)
    sent = np.asarray(np.bincount(place, np.concatenate([messages, nothing]), len(unique)), np.float64)
    received = np.asarray(np.bincount(place, np.concatenate([nothing, messages]), len(unique)), np.float64)
    first = np.searchsorted(unique // max(cores, 1), np.arange(cores + 1))
    return Talk(first.astype(np.int64), (unique % max(cores, 1)).astype(np.int64), sent, received)
