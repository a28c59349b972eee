"""Speed of executions against each other, interleaved in one process."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

Contender = Callable[[NDArray[np.uint8]], object]


@dataclass(frozen=True)
class Timing:
    """Times of one contender.

    Attributes:
        name: of the contender.
        seconds: per sample, in each round.
        ratios: the peer's time over this one's, round by round: above 1 is faster than the peer.
    """

    name: str
    seconds: Sequence[float]
    ratios: Sequence[float]

    def to_json(self) -> dict[str, Any]:
        """Medians with the smallest and largest of the rounds."""
        return {
            "name": self.name,
            "seconds": _spread(self.seconds),
            "ratio_to_peer": _spread(self.ratios),
        }


def race(
    contenders: Mapping[str, Contender], samples: Sequence[NDArray[np.uint8]], rounds: int
) -> list[Timing]:
    """Time contenders on the same samples, one after the other in every round; the first is the peer.

    Args:
        contenders: functions of frames [steps, 1, ...], by name; each keeps its own state in order.
        samples: frames; each contender sees all of them in every round, and once before as warm-up.
        rounds: how often.

    >>> slow, fast = race({"a": lambda x: x, "b": lambda x: x}, [np.zeros((1, 1), np.uint8)], 3)
    >>> len(slow.seconds), slow.ratios
    (3, [1.0, 1.0, 1.0])
    """
    for contender in contenders.values():
        for frames in samples:
            contender(frames)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            start = perf_counter()
            for frames in samples:
                contender(frames)
            times[name].append((perf_counter() - start) / len(samples))
    peer = times[next(iter(times))]
    return [
        Timing(name, seconds, [p / s for p, s in zip(peer, seconds, strict=True)])
        for name, seconds in times.items()
    ]


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    return {"processor": _processor(), "system": platform.platform(), "python": platform.python_version()}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    except OSError:
        return platform.processor() or "unknown"
    return ", ".join(sorted(names)) or platform.processor() or "unknown"


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}
