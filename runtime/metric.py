"""Figures of merit of a user's own, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.errors import InputError
from spikeloom.factories import load_factory

ROUNDS = 2000
_SEED = 0

Function = Callable[[NDArray[np.float64], NDArray[np.int64]], Any]


@dataclass(frozen=True)
class Metric:
    """A figure of merit over samples.

    Attributes:
        name: of the function.
        value: over all samples.
        low, high: its 95 % interval, from :data:`ROUNDS` bootstrap samples drawn with a fixed seed
            (percentiles; B. Efron, Ann. Statist. 7, 1979).
    """

    name: str
    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        """``name``, ``value`` and ``interval``."""
        return {"name": self.name, "value": self.value, "interval": [self.low, self.high]}


def load_metric(spec: str) -> Function:
    """The function of «FILE.py:fn», called as ``fn(evidence, labels)``.

    ``evidence`` is [samples, classes], at the end of each sample and in the model's units, ``labels``
    [samples]. It returns a number, and is called thousands of times on samples drawn with repetition.

    Raises:
        InputError: SL0201, there is no such function.
    """
    function, _ = load_factory(spec)
    return function


def measured(
    spec: str, function: Function, evidence: NDArray[np.float64], labels: NDArray[np.int64]
) -> Metric:
    """The metric of a run and its interval.

    Raises:
        InputError: SL0121, the function fails or gives no number.

    >>> def accuracy(evidence, labels):
    ...     return (evidence.argmax(1) == labels).mean()
    >>> evidence, labels = np.eye(4), np.array([0, 1, 2, 0])
    >>> found = measured("m.py:accuracy", accuracy, evidence, labels)
    >>> found.value, found.low, found.high
    (0.75, 0.25, 1.0)
    """
    value = _number(spec, function, evidence, labels)
    rng = np.random.default_rng(_SEED)
    drawn = []
    for _ in range(ROUNDS):
        chosen = rng.integers(0, len(labels), len(labels))
        drawn.append(_number(spec, function, evidence[chosen], labels[chosen]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Metric(spec.rpartition(":")[2], value, float(low), float(high))


def _number(spec: str, function: Function, evidence: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    try:
        value = float(function(evidence, labels))
    except Exception as error:  # a user's code may raise anything
        raise InputError.of("SL0121", spec, f"gives no number: {type(error).__name__}: {error}") from error
    if not np.isfinite(value):
        raise InputError.of("SL0121", spec, "gives no finite number", got=value)
    return value
