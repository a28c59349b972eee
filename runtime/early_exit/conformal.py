"""A conformal rule: stop as soon as few classes are left, with a guarantee that the right one is among them.

J. Chen, S. Park, O. Simeone: *SpikeCP: Delay-Adaptive Reliable Spiking Neural Networks via Conformal
Prediction*, arXiv 2305.11322. At each of K checkpoints the classes whose score -log softmax(evidence) is at
most a quantile of the right classes' scores on n calibration recordings are kept: the one of rank
⌈(n + 1)(1 - miscoverage / K)⌉. By the union bound over checkpoints, whenever the rule stops,

    P(the right class is kept) ≥ 1 - miscoverage

for a recording that is exchangeable with those of the calibration, whatever the network is worth. It says
nothing about recordings of another camera or another scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.errors import InputError, counted
from spikeloom.runtime.early_exit.rule import probabilities

_TINY = 1e-300


@dataclass(frozen=True)
class Conformal:
    """Stops at the first checkpoint at which at most ``set_size`` classes are kept.

    Attributes:
        miscoverage: the share of recordings, at most, whose right class is not kept.
        set_size: so few classes are an answer.
        limits: of the score, by step; only these steps are checkpoints.
        scale: of the evidence.
        calibration: number of recordings that the limits come from.

    >>> rule = Conformal(0.1, 1, {2: 1.0}, calibration=19)
    >>> evidence = np.array([[9.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    >>> rule.stops(evidence, 1).tolist(), rule.stops(evidence, 2).tolist()
    ([False, False], [True, False])
    """

    miscoverage: float
    set_size: int
    limits: dict[int, float]
    scale: float = 1.0
    calibration: int = 0

    @property
    def kind(self) -> str:
        """«conformal»."""
        return "conformal"

    def stops(self, evidence: NDArray[np.float64], step: int) -> NDArray[np.bool_]:
        """Which samples are answered after so many steps."""
        kept = self.candidates(evidence, step)
        if kept is None:
            return np.zeros(len(evidence), np.bool_)
        few: NDArray[np.bool_] = kept.sum(-1) <= self.set_size
        return few

    def candidates(self, evidence: NDArray[np.float64], step: int) -> NDArray[np.bool_] | None:
        """The classes that are kept [samples, classes]; None between checkpoints."""
        if step not in self.limits:
            return None
        kept: NDArray[np.bool_] = scores(evidence, self.scale) <= self.limits[step]
        return kept

    def to_json(self) -> dict[str, Any]:
        """The attributes and the kind."""
        return {
            "kind": self.kind,
            "miscoverage": self.miscoverage,
            "set_size": self.set_size,
            "limits": {str(step): limit for step, limit in self.limits.items()},
            "scale": self.scale,
            "calibration": self.calibration,
        }


def scores(evidence: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """-log softmax(scale · evidence): how little each class [..., classes] conforms."""
    result: NDArray[np.float64] = -np.log(np.maximum(probabilities(evidence, scale), _TINY))
    return result


def calibrate_conformal(
    evidence: NDArray[np.float64],
    labels: NDArray[np.int64],
    miscoverage: float,
    set_size: int = 1,
    scale: float = 1.0,
    checkpoints: Sequence[int] = (),
) -> Conformal:
    """The rule whose guarantee is ``1 - miscoverage``.

    Args:
        evidence: [samples, steps, classes] of recordings that the network was not trained on.
        labels: [samples].
        miscoverage: above 0, below 1.
        set_size: how many classes are an answer.
        scale: of the evidence; it must not come from these recordings.
        checkpoints: steps, counted from 1, at which inference may stop; all by default. The last step of
            all is always one.

    Raises:
        InputError: SL0812, there are too few recordings for the guarantee.
    """
    samples, steps, _ = evidence.shape
    stops = sorted({*(checkpoints or range(1, steps + 1)), steps})
    share = miscoverage / len(stops)
    rank = ceil((samples + 1) * (1 - share) - 1e-9)
    if rank > samples:
        raise InputError.of(
            "SL0812",
            "calibration",
            f"there are too few recordings for a miscoverage of {miscoverage:g} at "
            f"{counted(len(stops), 'checkpoint')}",
            wanted=f"at least {ceil((1 - share) / share - 1e-9):,}",
            got=f"{samples:,}",
            remedy="give more recordings, fewer checkpoints, or allow more miscoverage",
        )
    right = np.take_along_axis(scores(evidence, scale), labels[:, None, None], 2)[..., 0]
    ranked = np.sort(right, axis=0)[rank - 1]
    limits = {step: float(ranked[step - 1]) for step in stops}
    return Conformal(miscoverage, set_size, limits, scale, samples)
