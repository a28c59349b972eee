"""Dynamic Confidence: stop as soon as the network is sure enough.

C. Li, E. Jones, S. Furber: *Unleashing the Potential of Spiking Neural Networks with Dynamic Confidence*,
ICCV 2023, arXiv 2303.10276: confidence is the largest softmax of the scaled evidence, and one threshold,
found on the front of accuracy and latency, decides. There the scale is 1/30; here it is fitted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.runtime.early_exit.rule import probabilities


@dataclass(frozen=True)
class DynamicConfidence:
    """Stops after the first step with max softmax(scale · evidence) > threshold.

    Attributes:
        threshold: of the confidence, 0 to 1; at 1 no sample stops early.
        scale: of the evidence, above 0: the inverse of a temperature.
        first_step: no sample stops before so many steps.

    >>> rule = DynamicConfidence(threshold=0.9)
    >>> rule.stops(np.array([[3.0, 0.0], [1.0, 0.0]]), step=1).tolist()
    [True, False]
    """

    threshold: float
    scale: float = 1.0
    first_step: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.threshold <= 1 and self.scale > 0 and self.first_step >= 1):
            raise ValueError(f"no rule of confidence: {self}")

    @property
    def kind(self) -> str:
        """«dynamic_confidence»."""
        return "dynamic_confidence"

    def stops(self, evidence: NDArray[np.float64], step: int) -> NDArray[np.bool_]:
        """Which samples are answered after so many steps."""
        sure: NDArray[np.bool_] = self.confidence(evidence) > self.threshold
        return sure & (step >= self.first_step)

    def confidence(self, evidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """The largest share of a class [...], from evidence [..., classes]."""
        largest: NDArray[np.float64] = probabilities(evidence, self.scale).max(-1)
        return largest

    def candidates(self, evidence: NDArray[np.float64], step: int) -> None:
        """None: confidence is no statement about the other classes."""
        return

    def to_json(self) -> dict[str, Any]:
        """The attributes and the kind."""
        return {"kind": self.kind, **asdict(self)}
